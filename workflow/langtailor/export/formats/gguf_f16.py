"""A GGUF file with matrices in float16."""

from __future__ import annotations

from langtailor.config.export import Bounds, export_format
from langtailor.export.gguf.format import GgufFormat


@export_format
class GgufF16(GgufFormat):
    """For llama.cpp, from BERT, XLM-RoBERTa, EmbeddingGemma and Qwen3: half of the size."""

    name = "gguf-f16"
    bounds = Bounds(0.999, 0.998, 0.1)
    file = "model-f16.gguf"
    kind = "f16"
