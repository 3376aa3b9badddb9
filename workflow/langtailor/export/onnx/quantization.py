"""Graphs in 8 bits.

Two ways, with onnxruntime's own tools:

- *products*: weights in 8 bits, of which 7 are used, with a scale for each output column, inputs of a product in 8 bits with
  one scale for each batch, found on the way (dynamic quantisation). Faster, and with an error that grows with the number of
  layers;
- *weights*: weights in 8 bits with a scale for every 128 of them, arithmetic in float32. A hundredth of the error, and no
  faster.

The embedding table is in 8 bits in both. Where the first is too far from the student, some of its layers, from the first on,
are of the second kind.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

from langtailor.export.quiet import quiet

_BLOCK = 128


def products(graph: Path) -> list[str]:
    """Names of the products of a graph with weights, in the order in which they are computed."""
    model = onnx.load(graph)
    weights = {tensor.name for tensor in model.graph.initializer}
    return [node.name for node in model.graph.node if node.op_type in ("MatMul", "Gemm") and weights & {*node.input}]


def quantize(graph: Path, out: Path, exact: list[str]) -> None:
    """Write a graph in 8 bits.

    Args:
        graph: the graph in float32.
        out: where the new one goes.
        exact: names of the products whose arithmetic stays in float32; their weights have 8 bits, too.
    """
    partly = out.with_name(f"{out.name}.partly")
    try:
        with quiet("", "onnxruntime"):  # these tools speak through the root logger
            _quantize(graph, partly, out, exact)
    finally:
        partly.unlink(missing_ok=True)


def _quantize(graph: Path, partly: Path, out: Path, exact: list[str]) -> None:
    # Weights in 7 bits: with 8, processors without instructions for such products (AVX2) add two of them in 16 bits, where
    # they overflow. So the graph is as near to the model on all machines.
    quantize_dynamic(
        graph, partly, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8, nodes_to_exclude=exact
    )
    # What the first step has turned into integer products is no longer a MatMul.
    weights = MatMulNBitsQuantizer(onnx.load(partly), bits=8, block_size=_BLOCK, is_symmetric=True, accuracy_level=0)
    weights.process()
    weights.model.save_model_to_file(str(out), False)
