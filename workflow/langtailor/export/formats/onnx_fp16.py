"""The graph in half precision."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langtailor.config.export import Bounds, export_format
from langtailor.export.format import Source
from langtailor.export.onnx.format import OnnxFormat


@export_format
class OnnxFp16(OnnxFormat):
    """Weights and arithmetic in float16, inputs and outputs as before: half of the size, for GPUs and WebGPU."""

    name = "onnx-fp16"
    bounds = Bounds(0.9995, 0.999, 0.1)
    file = "onnx/model_fp16.onnx"

    def write(self, source: Source, out: Path) -> Iterator[dict[str, Any]]:
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16

        from langtailor.export.onnx.graph import save_graph, traced
        from langtailor.export.quiet import quiet

        plain = traced(source)
        with quiet("", "onnxruntime"):  # it warns of each number that float16 rounds to 0
            save_graph(convert_float_to_float16(onnx.load(plain), keep_io_types=True), out)
        yield {}
