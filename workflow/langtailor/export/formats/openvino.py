"""A graph of OpenVINO as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langtailor.config.export import Bounds, export_format
from langtailor.export.format import Source
from langtailor.export.openvino.format import OpenvinoFormat


@export_format
class Openvino(OpenvinoFormat):
    """For OpenVINO, in float32, computed in bfloat16 if the machine can: twice as fast as torch on such a CPU."""

    name = "openvino"
    bounds = Bounds(0.999, 0.998, 0.1)
    file = "openvino/openvino_model.xml"

    def write(self, source: Source, out: Path) -> Iterator[dict[str, Any]]:
        from langtailor.export.onnx.graph import traced
        from langtailor.export.openvino.graph import read_graph, save_graph

        plain = traced(source)
        save_graph(read_graph(plain), out)
        yield {}
