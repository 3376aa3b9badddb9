"""What devices compute in: which have bfloat16 and which only pretend to, and float32 on a GPU's tensor cores."""

from __future__ import annotations

import torch

#: Instructions for products of bfloat16 numbers, as torch names them.
_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")


def computes_bfloat16(device: torch.device) -> bool:
    """Whether a device has arithmetic for bfloat16; without, torch emulates it, several times slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(bool(capabilities.get(name)) for name in _INSTRUCTIONS)


def allow_tf32() -> None:
    """Let a GPU multiply float32 numbers as TF32, whose error is that of the float16 in which vectors are stored."""
    torch.set_float32_matmul_precision("high")
