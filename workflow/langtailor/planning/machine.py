"""What the machine that plans a run has, found without loading torch."""

from __future__ import annotations

from pathlib import Path

#: Device files of NVIDIA and AMD drivers, and of the one that Windows gives its Linux.
_GPU_DEVICES = ("nvidia[0-9]*", "kfd", "dxg")


def has_gpu(devices: Path = Path("/dev")) -> bool:
    """Whether the system offers a GPU.

    Args:
        devices: folder of device files.
    """
    return any(any(devices.glob(name)) for name in _GPU_DEVICES)
