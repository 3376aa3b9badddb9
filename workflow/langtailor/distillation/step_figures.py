"""The figures of a step, read while the device computes the next one.

To read a number from a GPU is to wait for all that it still has to do. So the figures of a step are copied to the host behind
its last kernel, and read once the next step is under way: the device never waits for Python.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from langtailor.models.length_batches import Rows


@dataclass(frozen=True)
class StepFigures:
    """Figures of a step that the device may still have to compute.

    Attributes:
        step: steps done with it.
        rows: its passages.
        rates: its learning rates by parameter group.
        names: of its figures.
        values: the figures in the host's memory; valid after :attr:`ready`.
        ready: passes when they are there; ``None`` on a CPU, where they are.
    """

    step: int
    rows: Rows
    rates: Mapping[str, float]
    names: Sequence[str]
    values: Tensor
    ready: torch.cuda.Event | None

    @classmethod
    def launched(cls, step: int, rows: Rows, rates: Mapping[str, float], figures: Mapping[str, Tensor]) -> Self:
        """Take a step's figures, scalars on the device, without waiting for them."""
        values = torch.stack([*figures.values()])
        if values.device.type != "cuda":
            return cls(step, rows, rates, [*figures], values, None)
        host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        host.copy_(values, non_blocking=True)
        ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
        ready.record()
        return cls(step, rows, rates, [*figures], host, ready)

    def read(self) -> dict[str, float]:
        """The figures by name; waits for the step, not for those after it."""
        if self.ready is not None:
            self.ready.synchronize()
        return dict(zip(self.names, self.values.tolist(), strict=True))
