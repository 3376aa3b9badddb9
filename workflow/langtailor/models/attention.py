"""Attention in float32 within a model that computes in bfloat16, for training on a CPU.

Matrix products in bfloat16 take a CPU with AMX less than half the time, but torch's fused attention has no fast backward
pass in it there: 10 ms where float32 takes 0.5 ms. Attention without learned weights is a small part of the work, so it
stays in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_NAME = "sdpa_float32"


def keep_attention_in_float32(model: SentenceTransformer) -> None:
    """Let a model's attention compute in float32 under autocast. Nothing changes where it is not torch's fused one."""
    transformer: Any = model.transformers_model
    if transformer.config._attn_implementation != "sdpa":
        return
    AttentionInterface.register(_NAME, _attention)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    transformer.set_attn_implementation(_NAME)


def _attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    with torch.autocast(query.device.type, enabled=False):
        attended: tuple[Tensor, None] = sdpa_attention_forward(
            module, query.float(), key.float(), value.float(), attention_mask, **options
        )
    return attended
