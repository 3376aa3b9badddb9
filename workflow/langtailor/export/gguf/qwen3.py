"""Qwen3, as Qwen3-Embedding has it, in llama.cpp."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import gguf

from langtailor.export.gguf.architecture import Architecture, rotary_base, write_rotary_heads


class Qwen3(Architecture):
    """Qwen3: causal, all layers over the whole text."""

    place = gguf.MODEL_ARCH.QWEN3
    family = "Qwen3"
    computes: ClassVar[Mapping[str, Any]] = {"hidden_act": "silu", "attention_bias": False, "use_sliding_window": False}

    @property
    def context_length(self) -> int:
        """One more than a text has: behind a causal model's text llama.cpp wants room for a token that it could generate."""
        return self.info.max_length + 1

    def write_shape(self, writer: gguf.GGUFWriter) -> None:
        """With heads and the base of rotary positions."""
        super().write_shape(writer)
        write_rotary_heads(writer, self.config)
        writer.add_rope_freq_base(rotary_base(self.config.rope_parameters))
