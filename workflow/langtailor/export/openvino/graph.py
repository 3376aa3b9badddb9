"""A student as a graph of OpenVINO in 8 bits, with OpenVINO's own tools.

Two ways, as for ONNX (:mod:`langtailor.export.onnx.quantization`):

- *products*: weights in 8 bits with a scale for each output column, and inputs of a product in 8 bits by a scale for all texts,
  which is measured beforehand (calibration) after outlying columns were scaled down (SmoothQuant, Xiao et al. 2022,
  arXiv 2211.10438), with biases corrected for the mean error;
- *weights*: weights in 8 bits alone. OpenVINO chooses the arithmetic by the machine.

The embedding table is in 8 bits in both.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from langtailor.export.graph_client import graph_inputs
from langtailor.export.openvino.no_telemetry import openvino
from langtailor.export.padding import padded_tokenizer
from langtailor.export.quiet import quiet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: As OpenVINO's class for models of transformers calls them: it opens no model that calls the first one ``token_embeddings``.
OUTPUTS = ("last_hidden_state", "sentence_embedding")
#: What no scale is measured for: with scales for its sums of embeddings, OpenVINO cannot open a graph of XLM-RoBERTa.
_IN_FLOAT = ("Gather", "GatherElements", "Add")


def read_graph(graph: Path) -> openvino.Model:
    """An ONNX graph of :func:`langtailor.export.onnx.graph.write_graph` in OpenVINO, its outputs named :data:`OUTPUTS`."""
    model = openvino.Core().read_model(graph)
    for output, name in zip(model.outputs, OUTPUTS, strict=True):
        output.get_tensor().set_names({name})
    return model


def save_graph(model: openvino.Model, out: Path) -> None:
    """Write a graph as it is: ``.xml``, and the weights as ``.bin`` beside it."""
    openvino.save_model(model, out, compress_to_fp16=False)


def products_in_eight_bits(graph: Path, calibration: Sequence[dict[str, NDArray[np.int64]]]) -> openvino.Model:
    """A graph with products in 8 bits.

    Args:
        graph: the ONNX graph in float32.
        calibration: inputs, each of one text, by which the scales are found.
    """
    model = read_graph(graph)
    names = [entry.any_name for entry in model.inputs]
    with _nncf() as nncf:
        texts = nncf.Dataset([{name: features[name] for name in names} for features in calibration])
        model = nncf.quantize(
            model,
            texts,
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(calibration),
            ignored_scope=nncf.IgnoredScope(types=list(_IN_FLOAT), validate=False),
        )
        exact = nncf.IgnoredScope(names=_tables_of_one_row(model), validate=False)
        return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM, ignored_scope=exact)


def _tables_of_one_row(model: openvino.Model) -> list[str]:
    """Look-ups of XLM-RoBERTa's token types: with them in 8 bits beside products in 8 bits, OpenVINO cannot open a graph."""
    gathers = [node for node in model.get_ops() if node.get_type_name() == "Gather"]
    return [node.get_friendly_name() for node in gathers if node.input(0).get_partial_shape()[0] == 1]


def weights_in_eight_bits(graph: Path) -> openvino.Model:
    """A graph with weights in 8 bits, and the arithmetic that OpenVINO chooses.

    Args:
        graph: the ONNX graph in float32.
    """
    with _nncf() as nncf:
        return nncf.compress_weights(read_graph(graph), mode=nncf.CompressWeightsMode.INT8_SYM)


def calibration_inputs(folder: Path, texts: Sequence[str]) -> list[dict[str, NDArray[np.int64]]]:
    """Inputs of one text each.

    Args:
        folder: has the tokenizer.
        texts: the prompt is part of each.
    """
    tokenizer = padded_tokenizer(folder)
    return [graph_inputs(tokenizer, [text]) for text in texts]


@contextmanager
def _nncf() -> Iterator[ModuleType]:
    """The package ``nncf`` without its progress bars. Its telemetry is off, as that of OpenVINO is."""
    import nncf

    with quiet("nncf"), redirect_stdout(io.StringIO()):
        yield nncf
