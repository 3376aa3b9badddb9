"""How the tensors of a GGUF file are stored, by the kind of the file.

``q4_k_m`` is llama.cpp's mixture of that name (``llama-quant.cpp`` there): most matrices in 4 bits, the embedding table and of
some layers the attention's values and the second product of the feed-forward part in 6. Its blocks of 256 weights do not divide
all widths; where they do not, blocks of 32 with a bit or two more take their place, as they do in llama.cpp.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from langtailor.errors import ExportError

Stored = gguf.GGMLQuantizationType
FILE_TYPES = {
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "q4_k_m": gguf.LlamaFileType.MOSTLY_Q4_K_M,
}
POSITIONS, TYPES, TOKENS = "position_embd.weight", "token_types.weight", "token_embd.weight"
#: What stores a matrix whose width is no multiple of a type's block.
_SMALLER_BLOCKS = {Stored.Q4_K: Stored.Q5_0, Stored.Q6_K: Stored.Q8_0, Stored.Q5_0: Stored.F16, Stored.Q8_0: Stored.F16}
#: Parts of a layer that the mixture gives more bits in some layers.
_SENSITIVE = ("attn_v.weight", "ffn_down.weight")


def stored_as(kind: str, name: str, values: NDArray[np.float32], layers: int) -> gguf.GGMLQuantizationType:
    """The type in which a file of some kind stores a tensor.

    Args:
        kind: one of :data:`FILE_TYPES`.
        name: the tensor's, as llama.cpp calls it.
        values: the tensor.
        layers: of the model.
    """
    if values.ndim == 1 or name in (POSITIONS, TYPES):
        return Stored.F32
    stored = {"f16": Stored.F16, "q8_0": Stored.Q8_0, "q4_k_m": _mixed(name, layers)}[kind]
    while values.shape[-1] % gguf.GGML_QUANT_SIZES[stored][0]:
        stored = _SMALLER_BLOCKS[stored]
    return stored


def _mixed(name: str, layers: int) -> gguf.GGMLQuantizationType:
    if name == TOKENS:
        return Stored.Q6_K
    return Stored.Q6_K if name.endswith(_SENSITIVE) and _more_bits(int(name.split(".")[1]), layers) else Stored.Q4_K


def _more_bits(layer: int, layers: int) -> bool:
    """The first and the last eighth of the layers, and each third of those between."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def quantize(values: NDArray[np.float32], kind: gguf.GGMLQuantizationType) -> NDArray[Any]:
    """A tensor as a file stores it.

    Args:
        values: float32; its last dimension a multiple of the type's block.
        kind: the type.

    Returns:
        float32 or float16 of the same shape, or bytes, uint8, of which each row's are its blocks.

    Raises:
        ExportError: llama.cpp alone can write the type, and the installed one offers no such function.
    """
    if kind not in (Stored.Q4_K, Stored.Q6_K):
        stored: NDArray[Any] = gguf.quants.quantize(values, kind)
        return stored
    rows = np.ascontiguousarray(values, np.float32)
    out = np.empty(gguf.quant_shape_to_byte_shape(rows.shape, kind), np.uint8)
    _llama_cpp()(int(kind), rows.ctypes.data, out.ctypes.data, 0, rows.shape[0], rows.shape[1], None)
    return out


@cache
def _llama_cpp() -> Any:
    """``ggml_quantize_chunk`` of the llama.cpp inside ``xllamacpp``, for types that the package ``gguf`` does not write."""
    import xllamacpp

    library = Path(xllamacpp.xllamacpp.__file__)
    try:
        function = ctypes.CDLL(str(library)).ggml_quantize_chunk
    except (OSError, AttributeError) as error:
        raise ExportError(
            f"{library.name} does not offer llama.cpp's quantisation (ggml_quantize_chunk); use gguf-q8_0 instead"
        ) from error
    function.restype = ctypes.c_size_t
    # type, source, target, first row, rows, width, importance of each column
    function.argtypes = [ctypes.c_int, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 3, ctypes.c_void_p]
    return function
