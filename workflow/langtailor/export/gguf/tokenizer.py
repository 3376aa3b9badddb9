"""A student's tokenizer in a GGUF file, written from ``tokenizer.json``, so that a new vocabulary works as well as an old one.

llama.cpp has WordPiece (``bert``), Unigram (``t5``), BPE over bytes (``gpt2``) and BPE over characters with bytes for those
that have no token (``gemma4``). Both kinds of BPE merge by the merges' ranks, as the student does. llama.cpp's own converter of
Gemma 3 writes ``llama`` instead, which joins any two neighbours whose product is a token, by the token's score: the same only
where all splits of a token are merges.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gguf

from langtailor.errors import ExportError
from langtailor.export.gguf.composed import composes
from langtailor.surgery.bpe.model_section import parse_merges
from langtailor.surgery.spec import model_tokens_by_id

_SPECIAL = ("unk", "sep", "pad", "mask")
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_SPACE_AS_LETTER = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
#: Names of llama.cpp's pre-tokenizers by their patterns in ``tokenizer.json``; ``ByteLevel`` stands for GPT-2's.
_GPT2_WORDS = "ByteLevel"
_PRE_TOKENIZERS: dict[tuple[str, ...], str] = {
    (_GPT2_WORDS,): "gpt-2",
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ): "qwen2",
}


@dataclass(frozen=True)
class _Token:
    text: str
    kind: gguf.TokenType


def write_gguf_tokenizer(writer: gguf.GGUFWriter, spec: Mapping[str, Any], tokenizer: Any, rows: int) -> None:
    """Write a tokenizer.

    Args:
        writer: of the file.
        spec: content of ``tokenizer.json``.
        tokenizer: the same, as transformers loads it.
        rows: of the embedding table: as many tokens as llama.cpp wants. Ids past it are left out.

    Raises:
        ExportError: llama.cpp has no such tokenizer.
    """
    model = spec["model"]
    if model["type"] == "WordPiece":
        writer.add_tokenizer_model("bert")
        writer.add_tokenizer_pre("default")
    elif model["type"] == "Unigram" and not model.get("byte_fallback"):
        _write_unigram(writer, spec)
    elif model["type"] == "BPE":
        _write_bpe(writer, spec)
    else:
        raise ExportError(
            f"gguf exports support WordPiece, BPE, and Unigram without byte fallback; this tokenizer is {model['type']}"
        )
    tokens = _tokens(spec, tokenizer.unk_token_id)
    rowwise = [tokens.get(number) or _Token(f"[PAD{number}]", gguf.TokenType.UNUSED) for number in range(rows)]
    writer.add_token_list([token.text for token in rowwise])
    writer.add_token_types([token.kind for token in rowwise])
    if model["type"] == "Unigram":
        scores = [score for _, score in model["vocab"]]
        writer.add_token_scores([*scores, *[0.0] * rows][:rows])
    _write_special(writer, tokenizer)


def _write_unigram(writer: gguf.GGUFWriter, spec: Mapping[str, Any]) -> None:
    writer.add_tokenizer_model("t5")
    writer.add_tokenizer_pre("default")
    writer.add_add_space_prefix(True)
    writer.add_remove_extra_whitespaces(True)
    writer.add_precompiled_charsmap(_charsmap(spec["normalizer"]))


def _write_bpe(writer: gguf.GGUFWriter, spec: Mapping[str, Any]) -> None:
    model = spec["model"]
    if model.get("ignore_merges"):
        raise ExportError(
            "gguf exports do not support a BPE with `ignore_merges`, which uses words that are tokens as they are"
        )
    if model.get("byte_fallback"):
        if spec["normalizer"] != _SPACE_AS_LETTER:
            raise ExportError("llama.cpp's BPE with byte fallback only replaces spaces by ▁; this normalizer differs")
        writer.add_tokenizer_model("gemma4")
        writer.add_tokenizer_pre("gemma4")
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(_pre_tokenizer(spec))
    writer.add_token_merges([f"{left} {right}" for left, right in parse_merges(model["merges"])])


def _pre_tokenizer(spec: Mapping[str, Any]) -> str:
    """Name of the pre-tokenizer of a BPE over bytes in llama.cpp."""
    if spec["normalizer"] is not None and not composes(spec):
        raise ExportError(f"llama.cpp's BPE has no normalizer; this tokenizer has {spec['normalizer']['type']}")
    stage = spec["pre_tokenizer"]
    patterns = tuple(_pattern(step) for step in stage.get("pretokenizers", [stage]))
    name = _PRE_TOKENIZERS.get(tuple(pattern for pattern in patterns if pattern))
    if name is None:
        raise ExportError(f"llama.cpp has no pre-tokenizer that splits text into words by {patterns}")
    return name


def _pattern(step: Mapping[str, Any]) -> str:
    """A step's pattern; empty for one that splits nothing."""
    if step["type"] == "ByteLevel" and not step["add_prefix_space"]:
        return _GPT2_WORDS if step["use_regex"] else ""
    if step["type"] == "Split" and step["behavior"] == "Isolated" and not step["invert"]:
        return str(step["pattern"].get("Regex"))
    return str(step["type"]) + "?"


def _tokens(spec: Mapping[str, Any], unknown: int | None) -> dict[int, _Token]:
    """By id, the added ones among them."""
    texts = model_tokens_by_id(spec["model"]["vocab"])
    added = {entry["id"]: entry for entry in spec["added_tokens"]}
    texts |= {number: entry["content"] for number, entry in added.items()}
    wordpiece = spec["model"]["type"] == "WordPiece"
    return {
        number: _Token(
            _wordpiece(text) if wordpiece and number not in added else text,
            gguf.TokenType.UNKNOWN if number == unknown else _kind(text, added.get(number)),
        )
        for number, text in texts.items()
    }


def _wordpiece(token: str) -> str:
    """A WordPiece as llama.cpp spells it: the start of a word is marked, not what goes on with one."""
    return token[2:] if token.startswith("##") else f"▁{token}"


def _kind(text: str, added: Mapping[str, Any] | None) -> gguf.TokenType:
    if added is not None:
        return gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
    return gguf.TokenType.BYTE if _BYTE.fullmatch(text) else gguf.TokenType.NORMAL


def _write_special(writer: gguf.GGUFWriter, tokenizer: Any) -> None:
    """The tokens around a text, which are called its begin and its end whatever the tokenizer calls them, and the others."""
    before, behind = _frame(tokenizer)
    for name, ids in (("bos", before), ("eos", behind)):
        if len(ids) > 1:
            raise ExportError(f"llama.cpp adds one token at each end of a text; this tokenizer adds {len(ids)}")
        getattr(writer, f"add_add_{name}_token")(bool(ids))
        if ids:
            getattr(writer, f"add_{name}_token_id")(ids[0])
    for name in _SPECIAL:
        number = getattr(tokenizer, f"{name}_token_id")
        if number is not None:
            getattr(writer, f"add_{name}_token_id")(number)


def _frame(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Ids of special tokens before a text and behind it."""
    framed, bare = (tokenizer("a", add_special_tokens=special)["input_ids"] for special in (True, False))
    start = next(place for place in range(len(framed)) if framed[place : place + len(bare)] == bare)
    return framed[:start], framed[start + len(bare) :]


def _charsmap(normalizer: Mapping[str, Any] | None) -> bytes:
    """SentencePiece's normalisation table, alone or one of several steps; of these, llama.cpp itself removes white space."""
    for step in (normalizer or {}).get("normalizers", [normalizer]):
        if step and step.get("precompiled_charsmap"):
            return base64.b64decode(step["precompiled_charsmap"])
    raise ExportError("the tokenizer has no normalisation table of SentencePiece, which llama.cpp's Unigram needs")
