"""A GGUF file with most matrices in 4 bits."""

from __future__ import annotations

from langtailor.config.export import Bounds, export_format
from langtailor.export.gguf.format import GgufFormat


@export_format
class GgufQ4KM(GgufFormat):
    """For llama.cpp, from the same models: a mix of 4 and 6 bits, or 5 and 8 if 256 does not divide the width."""

    name = "gguf-q4_k_m"
    bounds = Bounds(0.98, 0.95, 1.0)
    file = "model-q4_k_m.gguf"
    kind = "q4_k_m"
