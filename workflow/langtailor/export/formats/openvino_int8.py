"""A graph of OpenVINO with integer arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langtailor.config.export import Bounds, export_format
from langtailor.export.format import Source
from langtailor.export.openvino.format import OpenvinoFormat


@export_format
class OpenvinoInt8(OpenvinoFormat):
    """For OpenVINO: products and embedding table in 8 bits, or only the weights if that is too far from the student."""

    name = "openvino-int8"
    bounds = Bounds(0.995, 0.97, 0.5)
    file = "openvino/openvino_model.xml"

    def write(self, source: Source, out: Path) -> Iterator[dict[str, Any]]:
        from langtailor.export.onnx.graph import traced
        from langtailor.export.openvino.graph import (
            calibration_inputs,
            products_in_eight_bits,
            save_graph,
            weights_in_eight_bits,
        )

        plain = traced(source)
        calibration = calibration_inputs(source.folder, [source.prompt + text for text in source.texts])
        ways = {
            "products in 8 bits": lambda: save_graph(products_in_eight_bits(plain, calibration), out),
            "weights in 8 bits": lambda: save_graph(weights_in_eight_bits(plain), out),
        }
        yield from self.write_nearer_and_nearer(source, out, ways)
