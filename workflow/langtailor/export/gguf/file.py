"""A student with its pooling and its tokenizer as one GGUF file, which llama.cpp reads.

Names of tensors and keys are those of the package ``gguf``. A model that the file cannot hold is refused; whether llama.cpp
reads text as the student does is checked by the certificate.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf

from langtailor.errors import ExportError
from langtailor.export.gguf.architecture import Architecture
from langtailor.export.gguf.bert import Bert
from langtailor.export.gguf.gemma import EmbeddingGemma
from langtailor.export.gguf.kinds import FILE_TYPES, quantize, stored_as
from langtailor.export.gguf.qwen3 import Qwen3
from langtailor.export.gguf.tokenizer import write_gguf_tokenizer
from langtailor.models.folder import ModelInfo
from langtailor.storage.json_files import load_json_object

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_ARCHITECTURES: dict[str, type[Architecture]] = {
    "bert": Bert,
    "roberta": Bert,
    "xlm-roberta": Bert,
    "gemma3_text": EmbeddingGemma,
    "qwen3": Qwen3,
}


def write_gguf(folder: Path, model: SentenceTransformer, kind: str, out: Path) -> dict[str, int]:
    """Write a model's GGUF file.

    Args:
        folder: the model's.
        model: the same, loaded in float32.
        kind: of matrices: ``f16``, ``q8_0`` for 8 bits with a scale for every 32 weights, or ``q4_k_m`` for llama.cpp's mixture
            of 4 and 6 bits.
        out: the file.

    Returns:
        How many tensors are stored in each type.

    Raises:
        ExportError: llama.cpp cannot hold the model.
    """
    architecture = _architecture(folder, model)
    config = architecture.config
    writer = gguf.GGUFWriter(out, gguf.MODEL_ARCH_NAMES[architecture.place])
    architecture.write_shape(writer)
    writer.add_file_type(FILE_TYPES[kind])
    spec = load_json_object(folder / "tokenizer.json")
    write_gguf_tokenizer(writer, spec, model.tokenizer, config.vocab_size)
    written: Counter[str] = Counter()
    for name, values in architecture.tensors():
        stored = stored_as(kind, name, values, config.num_hidden_layers)
        writer.add_tensor(name, quantize(values, stored), raw_dtype=stored)
        written[stored.name] += 1
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return dict(written)


def _architecture(folder: Path, model: SentenceTransformer) -> Architecture:
    transformer: Any = model[0].auto_model
    kind = transformer.config.model_type
    if kind not in _ARCHITECTURES:
        raise ExportError(
            f"gguf exports support models of the types {', '.join(_ARCHITECTURES)}; this model is of the type {kind!r}"
        )
    return _ARCHITECTURES[kind](ModelInfo.read(folder), model)
