"""A BERT or XLM-RoBERTa with its tokenizer as one GGUF file, which llama.cpp reads.

llama.cpp has one architecture for both, ``bert``: positions count from the first row of their table, and the tokenizer is
WordPiece or Unigram (``t5``). Names of tensors and keys are those of the package ``gguf``. What has no place in the file is
refused here; that llama.cpp reads text as the student does is for the certificate to tell.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
from numpy.typing import NDArray

from langtailor.errors import ExportError
from langtailor.export.gguf_kinds import FILE_TYPES, POSITIONS, quantize, stored_as
from langtailor.models.folder import ModelInfo

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

#: By model type: the first row of the position table that a token can have, counted from the padding id.
_FIRST_POSITION = {"bert": None, "roberta": 1, "xlm-roberta": 1}
#: By the names of old and of new versions of sentence-transformers.
_POOLINGS = {
    "mean": gguf.PoolingType.MEAN,
    "mean_tokens": gguf.PoolingType.MEAN,
    "cls": gguf.PoolingType.CLS,
    "cls_token": gguf.PoolingType.CLS,
}
#: Has no use in a sentence vector.
_LEFT_OUT = ("pooler.", "embeddings.position_ids")
_SPECIAL = ("bos", "eos", "unk", "sep", "pad", "mask")


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
    transformer: Any = model[0].auto_model
    info, config = ModelInfo.read(folder), transformer.config
    _refuse(info, config)
    writer = gguf.GGUFWriter(out, "bert")
    _write_shape(writer, info, config)
    writer.add_file_type(FILE_TYPES[kind])
    _write_tokenizer(writer, json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")), model.tokenizer)
    written: Counter[str] = Counter()
    for name, values in _tensors(info, config, transformer.state_dict()):
        stored = stored_as(kind, name, values, config.num_hidden_layers)
        writer.add_tensor(name, quantize(values, stored), raw_dtype=stored)
        written[stored.name] += 1
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return dict(written)


def _refuse(info: ModelInfo, config: Any) -> None:
    if config.model_type not in _FIRST_POSITION:
        raise ExportError(f"gguf exports support BERT and XLM-RoBERTa; this model is of the type {config.model_type!r}")
    further = [module for module in info.modules if module not in ("Transformer", "Pooling", "Normalize")]
    if further:
        raise ExportError(f"llama.cpp has no {further[0]} module after a BERT, and without it the vectors would differ")
    if info.pooling not in _POOLINGS:
        raise ExportError(f"llama.cpp has no pooling {info.pooling!r}; it supports the mean and the first token")
    if config.hidden_act != "gelu":
        raise ExportError(f"llama.cpp computes BERT with gelu; this model has {config.hidden_act!r}")


def _write_shape(writer: gguf.GGUFWriter, info: ModelInfo, config: Any) -> None:
    writer.add_context_length(info.max_length)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_layer_norm_eps(config.layer_norm_eps)
    writer.add_causal_attention(False)
    writer.add_pooling_type(_POOLINGS[info.pooling])
    writer.add_token_type_count(config.type_vocab_size)


def _tensors(info: ModelInfo, config: Any, state: dict[str, Any]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Names of llama.cpp and float32 values."""
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, config.num_hidden_layers)
    after = _FIRST_POSITION[config.model_type]
    first = 0 if after is None else config.pad_token_id + after
    for name, tensor in state.items():
        if name.startswith(_LEFT_OUT):
            continue
        place = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if place is None:
            raise ExportError(f"llama.cpp's BERT does not support the tensor {name!r}")
        values = tensor.numpy()
        yield place, values[first : first + info.max_length] if place == POSITIONS else values


def _write_tokenizer(writer: gguf.GGUFWriter, spec: dict[str, Any], tokenizer: Any) -> None:
    model = spec["model"]
    special = {entry["id"] for entry in spec["added_tokens"] if entry["special"]}
    if model["type"] == "WordPiece":
        tokens = sorted(model["vocab"], key=model["vocab"].get)
        writer.add_tokenizer_model("bert")
        writer.add_token_list([_piece(token, number in special) for number, token in enumerate(tokens)])
    elif model["type"] == "Unigram" and not model.get("byte_fallback"):
        tokens = [token for token, _ in model["vocab"]]
        writer.add_tokenizer_model("t5")
        writer.add_token_list(tokens)
        writer.add_token_scores([score for _, score in model["vocab"]])
        writer.add_add_space_prefix(True)
        writer.add_remove_extra_whitespaces(True)
        writer.add_precompiled_charsmap(_charsmap(spec["normalizer"]))
    else:
        raise ExportError(f"gguf exports support WordPiece and Unigram tokenizers; this one is {model['type']}")
    writer.add_tokenizer_pre("default")
    writer.add_token_types([_token_type(number, special, tokenizer.unk_token_id) for number in range(len(tokens))])
    for name in _SPECIAL:
        getattr(writer, f"add_{name}_token_id")(_special_id(tokenizer, name))
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)


def _piece(token: str, special: bool) -> str:
    """A WordPiece as llama.cpp spells it: the start of a word is marked, not what goes on with one."""
    return token if special else token[2:] if token.startswith("##") else f"▁{token}"


def _token_type(number: int, special: set[int], unknown: int) -> gguf.TokenType:
    if number == unknown:
        return gguf.TokenType.UNKNOWN
    return gguf.TokenType.CONTROL if number in special else gguf.TokenType.NORMAL


def _special_id(tokenizer: Any, name: str) -> int:
    """A special token's id; BERT's own are the first and the last of a text without being called so."""
    named = {"bos": "cls", "eos": "sep"}.get(name, name)
    return int(getattr(tokenizer, f"{named}_token_id"))


def _charsmap(normalizer: dict[str, Any] | None) -> bytes:
    """SentencePiece's normalisation table, alone or one of several steps; of these, llama.cpp itself removes white space."""
    for step in (normalizer or {}).get("normalizers", [normalizer]):
        if step and step.get("precompiled_charsmap"):
            return base64.b64decode(step["precompiled_charsmap"])
    raise ExportError("the tokenizer has no normalisation table of SentencePiece, which llama.cpp's Unigram needs")
