"""A graph of OpenVINO with integer arithmetic."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from langtailor.config.export import Bounds, export_format
from langtailor.export.format import Source
from langtailor.export.openvino.format import OpenvinoFormat

_LOG = logging.getLogger("langtailor")


@export_format
class OpenvinoInt8(OpenvinoFormat):
    """For OpenVINO: products and embedding table in 8 bits, or only the weights if that is too far from the student."""

    name = "openvino-int8"
    bounds = Bounds(0.995, 0.97, 0.5)
    file = "openvino/openvino_model.xml"

    def write(self, source: Source, out: Path) -> Iterator[dict[str, Any]]:
        from langtailor.export.onnx.graph import write_graph
        from langtailor.export.openvino import graph as openvino_graph

        plain = source.scratch / "model.onnx"
        write_graph(source.model, source.prompt, plain)
        texts = [source.prompt + text for text in source.texts]
        calibration = openvino_graph.calibration_inputs(source.folder, texts)
        ways = {
            "products": partial(openvino_graph.products_in_eight_bits, plain, calibration),
            "weights": partial(openvino_graph.weights_in_eight_bits, plain),
        }
        tried, last = [], list(ways)[-1]
        for way, make in ways.items():
            openvino_graph.save_graph(make(), out)
            cosines = source.cosines(self.client()(out, source.folder, threads=1), "validation texts")
            tried.append({"in_eight_bits": way, "mean_cosine": cosines.mean, "least_cosine": cosines.least})
            _LOG.info("%s in 8 bits: %s", way, cosines)
            if cosines.keep(source.bounds) or way == last:
                yield {"in_eight_bits": way, "tried": [*tried]}
