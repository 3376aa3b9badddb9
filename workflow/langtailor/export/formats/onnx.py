"""The graph as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langtailor.config.export import Bounds, export_format
from langtailor.export.format import Source
from langtailor.export.onnx.format import OnnxFormat


@export_format
class Onnx(OnnxFormat):
    """The whole model, pooling and Dense modules included, as one graph in float32."""

    name = "onnx"
    bounds = Bounds(0.9999, 0.999, 0.1)
    file = "onnx/model.onnx"

    def write(self, source: Source, out: Path) -> Iterator[dict[str, Any]]:
        from langtailor.export.onnx.graph import write_graph

        write_graph(source.model, source.prompt, out)
        yield {}
