"""A sentence-transformers model as one ONNX graph: transformer, pooling, Dense modules and scaling.

Inputs ``input_ids``, ``attention_mask`` and, where the model has them, ``token_type_ids`` are int64 of shape (batch, length);
outputs are ``token_embeddings``, float32 of shape (batch, length, width), and ``sentence_embedding``, float32 of shape
(batch, dimension): the names that sentence-transformers, transformers.js and text-embeddings-inference look for.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import onnx_ir
import torch
from torch import Tensor

from langtailor.errors import ExportError
from langtailor.export.onnx.format import data_file
from langtailor.export.quiet import quiet

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from langtailor.export.format import Source

_LOG = logging.getLogger("langtailor")
OUTPUTS = ("token_embeddings", "sentence_embedding")
#: Newest that transformers.js' and OpenVINO's current releases read without conversion.
_OPSET = 18
#: What a protobuf message can hold, less a little for the graph itself.
_MOST_BYTES = 2**31 - 2**24
#: Two texts of different length, so that no dimension is taken for a constant.
_EXAMPLE = ("one two three four five", "one")


class _Graph(torch.nn.Module):
    """The model as a function of tensors."""

    def __init__(self, model: SentenceTransformer, names: list[str]) -> None:
        super().__init__()
        self._model, self._names = model, names

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        features = self._model(dict(zip(self._names, inputs, strict=True)))
        return tuple(features[name].float() for name in OUTPUTS)


def _inputs(features: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors among a model's features, in the order of the graph's inputs."""
    names = ("input_ids", "attention_mask", "token_type_ids")
    return {name: features[name] for name in names if name in features}


def write_graph(model: SentenceTransformer, prompt: str, out: Path) -> None:
    """Write a model's graph.

    Args:
        model: in float32, on the CPU, in evaluation mode.
        prompt: put before each text.
        out: the ``.onnx`` file. Weights that are too large for it are in :func:`~langtailor.export.onnx.format.data_file`.

    Raises:
        ExportError: torch cannot turn the model into a graph, or its pooling leaves out the prompt.
    """
    if any(getattr(module, "include_prompt", True) is False for module in model.modules()):
        raise ExportError("the model's pooling leaves out the prompt, which a graph cannot recognise in token ids")
    inputs = _inputs(dict(model.preprocess(list(_EXAMPLE), prompt=prompt or None)))
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    _LOG.info("tracing the model")
    with quiet("torch.onnx"):
        try:
            program = torch.onnx.export(
                _Graph(model, [*inputs]),
                tuple(inputs.values()),
                dynamo=True,
                input_names=[*inputs],
                output_names=list(OUTPUTS),
                dynamic_shapes=((*({0: batch, 1: length} for _ in inputs),),),
                opset_version=_OPSET,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise ExportError(f"torch cannot turn the model into a graph: {str(error).splitlines()[0]}") from error
    assert program is not None
    size = sum(4 * parameter.numel() for parameter in model.parameters())
    onnx_ir.save(program.model, out, external_data=data_file(out).name if size >= _MOST_BYTES else None)


def traced(source: Source) -> Path:
    """Write the graph of an export's student to the scratch folder, for formats that are made from it.

    Raises:
        ExportError: see :func:`write_graph`.
    """
    file = source.scratch / "model.onnx"
    write_graph(source.model, source.prompt, file)
    return file


def save_graph(graph: onnx.ModelProto, out: Path) -> None:
    """Write a graph, and next to it, where they are too large for its file, its weights."""
    size = sum(len(tensor.raw_data) for tensor in graph.graph.initializer)
    onnx.save(graph, out, save_as_external_data=size >= _MOST_BYTES, location=data_file(out).name)
