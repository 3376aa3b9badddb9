"""A GGUF file with matrices in 8 bits."""

from __future__ import annotations

from langtailor.config.export import Bounds, export_format
from langtailor.export.gguf.format import GgufFormat


@export_format
class GgufQ8(GgufFormat):
    """For llama.cpp, from the same models: a scale for every 32 weights, a quarter of the size."""

    name = "gguf-q8_0"
    bounds = Bounds(0.995, 0.99, 0.3)
    file = "model-q8_0.gguf"
    kind = "q8_0"
