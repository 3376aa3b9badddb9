"""The graph with integer arithmetic."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langtailor.config.export import Bounds, export_format
from langtailor.export.format import Source
from langtailor.export.onnx.format import OnnxFormat

_LOG = logging.getLogger("langtailor")
#: Shares of the products, from the first on, whose arithmetic stays in float32 where the bounds ask for it.
_EXACT_SHARES = (0.0, 0.25, 0.5, 0.75)


@export_format
class OnnxInt8(OnnxFormat):
    """Matrix products and embedding table in 8 bits: a quarter of the size, and faster on a CPU."""

    name = "onnx-int8"
    bounds = Bounds(0.995, 0.97, 0.5)
    file = "onnx/model_quantized.onnx"

    def write(self, source: Source, out: Path) -> Iterator[dict[str, Any]]:
        from langtailor.export.onnx.graph import write_graph
        from langtailor.export.onnx.quantization import products, quantize

        plain = source.scratch / "model.onnx"
        write_graph(source.model, source.prompt, plain)
        names, tried = products(plain), []
        for share in _EXACT_SHARES:
            exact = names[: round(share * len(names))]
            quantize(plain, out, exact)
            cosines = source.cosines(self.client()(out, source.folder, threads=1), "validation texts")
            tried.append({"exact_share": share, "mean_cosine": cosines.mean, "least_cosine": cosines.least})
            _LOG.info("%d of %d products exact: %s", len(exact), len(names), cosines)
            if cosines.keep(source.bounds) or share == _EXACT_SHARES[-1]:
                yield {"products": len(names), "exact_products": len(exact), "tried": [*tried]}
