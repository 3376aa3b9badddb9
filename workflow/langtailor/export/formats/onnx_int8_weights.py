"""The graph with weights in 8 bits and arithmetic in float32."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langtailor.config.export import Bounds, export_format
from langtailor.export.format import Source
from langtailor.export.onnx.format import OnnxFormat


@export_format
class OnnxInt8Weights(OnnxFormat):
    """Only the weights in 8 bits: a quarter of the size, nearly exact, no faster."""

    name = "onnx-int8-weights"
    bounds = Bounds(0.998, 0.99, 0.3)
    file = "onnx/model_int8_weights.onnx"

    def write(self, source: Source, out: Path) -> Iterator[dict[str, Any]]:
        from langtailor.export.onnx.graph import traced
        from langtailor.export.onnx.quantization import products, quantize

        plain = traced(source)
        names = products(plain)
        quantize(plain, out, exact=names)
        yield {"products": len(names), "exact_products": len(names)}
