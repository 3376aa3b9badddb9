"""The parts of ``tokenizer.json`` that every family shares: added tokens, post-processor and padding.

They name tokens by content *and* by id, and the libraries silently accept files in which the two disagree. So ids are
always looked up by content here, and a part of unknown type is refused.

Source: https://huggingface.co/docs/tokenizers/api/post-processors and the serialised form in the sources of
``tokenizers`` (``tokenizers/src/processors``, ``tokenizers/src/tokenizer/added_vocabulary.rs``).
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from langtailor.errors import CertificateError, UnsupportedTokenizerError
from langtailor.surgery.base import Ids

_PLAIN_PROCESSORS = frozenset({"ByteLevel"})
_PAIR_PROCESSORS = frozenset({"BertProcessing", "RobertaProcessing"})
# Names that the classes of transformers give to roles by default; a missing one is appended after the last row.
_DEFAULT_NAMES = frozenset(
    f"{left}{role}{right}"
    for left, right in (("<", ">"), ("[", "]"))
    for role in ("pad", "unk", "bos", "eos", "cls", "sep", "mask", "PAD", "UNK", "BOS", "EOS", "CLS", "SEP", "MASK")
) | {"<s>", "</s>", "<|endoftext|>"}


def added_tokens(spec: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The entries of ``added_tokens`` by content, in the file's order."""
    return {entry["content"]: entry for entry in spec.get("added_tokens") or ()}


def processor_tokens(spec: Mapping[str, Any]) -> set[str]:
    """Every token that the post-processor may put around a text.

    Raises:
        UnsupportedTokenizerError: the post-processor is of a type that is not supported.
    """
    tokens: set[str] = set()
    for processor in _processors(spec.get("post_processor")):
        if processor["type"] in _PAIR_PROCESSORS:
            tokens |= {processor["sep"][0], processor["cls"][0]}
        elif processor["type"] == "TemplateProcessing":
            tokens.update(token for entry in processor["special_tokens"].values() for token in entry["tokens"])
    return tokens


def config_tokens(tokenizer_config: Mapping[str, Any]) -> set[str]:
    """Every token that ``tokenizer_config.json`` gives a role: ``bos_token``, ``extra_special_tokens`` and so on."""
    tokens: set[str] = set()
    for key, value in tokenizer_config.items():
        if key.endswith(("_token", "special_tokens")):
            tokens.update(_contents(value))
    return tokens


def special_tokens(spec: Mapping[str, Any], tokenizer_config: Mapping[str, Any]) -> set[str]:
    """Tokens with a role: flagged special, or named by the config, the post-processor, the padding, or by default.

    May contain names that the tokenizer does not have.
    """
    flagged = {content for content, entry in added_tokens(spec).items() if entry["special"]}
    padding = {spec["padding"]["pad_token"]} if spec.get("padding") else set()
    return flagged | padding | processor_tokens(spec) | config_tokens(tokenizer_config) | _DEFAULT_NAMES


def model_tokens_by_id(vocab: Mapping[str, int] | Sequence[Sequence[Any]]) -> dict[int, str]:
    """Token by id of ``model.vocab`` alone, in the file's order.

    Args:
        vocab: ids by token, or, as Unigram has it, a list of tokens with their scores.
    """
    if isinstance(vocab, Mapping):
        return {token_id: token for token, token_id in vocab.items()}
    return {token_id: token for token_id, (token, _) in enumerate(vocab)}


def model_type(spec: Mapping[str, Any]) -> str | None:
    """What the model of a ``tokenizer.json`` is, of those that are supported: ``BPE``, ``Unigram`` or ``WordPiece``.

    Old files do not name the type, but each model has a part that the others lack.
    """
    model = spec.get("model", {})
    if "type" in model:
        return next((kind for kind in ("BPE", "Unigram", "WordPiece") if kind == model["type"]), None)
    if "max_input_chars_per_word" in model:
        return "WordPiece"
    if isinstance(model.get("vocab"), list):
        return "Unigram"
    return "BPE" if "merges" in model else None


def tokens_by_id(vocab: Mapping[str, int], spec: Mapping[str, Any]) -> list[str | None]:
    """Token by id, over the model's vocabulary and the added tokens; ``None`` where no token has the id.

    Args:
        vocab: id by token of the model.
        spec: the whole ``tokenizer.json``.

    Raises:
        UnsupportedTokenizerError: two tokens share an id, or an added token has another id than in the vocabulary.
    """
    ids = dict(vocab)
    for content, entry in added_tokens(spec).items():
        if ids.setdefault(content, entry["id"]) != entry["id"]:
            raise UnsupportedTokenizerError(
                f"tokenizer.json: added token {content!r} has id {entry['id']} in `added_tokens` and {vocab[content]} "
                "in `model.vocab`. They must agree: repair the teacher's tokenizer.json"
            )
    tokens: list[str | None] = [None] * (max(ids.values(), default=-1) + 1)
    for token, token_id in ids.items():
        if tokens[token_id] is not None:
            raise UnsupportedTokenizerError(
                f"tokenizer.json: id {token_id} belongs to both {tokens[token_id]!r} and {token!r}. "
                "Each id must belong to one token: repair the teacher's tokenizer.json"
            )
        tokens[token_id] = token
    return tokens


def remap_shared(spec: Mapping[str, Any], new_id: Mapping[str, int]) -> dict[str, Any]:
    """A copy of ``spec`` whose ``added_tokens``, ``post_processor`` and ``padding`` carry the new ids.

    Added tokens without a new id are left out, the others are sorted by it. ``model`` is a new mapping of the old
    values; the family replaces those that change.

    Args:
        spec: content of ``tokenizer.json``.
        new_id: new id by token, added tokens included.

    Raises:
        UnsupportedTokenizerError: the post-processor is of a type that is not supported.
        CertificateError: the post-processor or the padding names a token that has no new id.
    """
    # The model is nearly all of the file, and the family replaces its vocabulary.
    new = {part: dict(value) if part == "model" else copy.deepcopy(value) for part, value in spec.items()}
    kept = [entry for entry in new.get("added_tokens") or () if entry["content"] in new_id]
    for entry in kept:
        entry["id"] = new_id[entry["content"]]
    if "added_tokens" in new:
        new["added_tokens"] = sorted(kept, key=lambda entry: entry["id"])
    if "post_processor" in new:
        new["post_processor"] = with_ids(new["post_processor"], new_id)
    if padding := new.get("padding"):
        padding["pad_id"] = _lookup(padding["pad_token"], new_id, "padding")
    return new


def with_ids(processor: Any, ids: Mapping[str, int]) -> Any:
    """A copy of a ``post_processor``, or of none, that names its tokens by other ids.

    Args:
        processor: the part of ``tokenizer.json``.
        ids: id by token.

    Raises:
        UnsupportedTokenizerError: it is of a type that is not supported.
        CertificateError: it names a token that has no id.
    """
    new = copy.deepcopy(processor)
    for part in _processors(new):
        _remap_processor(part, ids)
    return new


def assert_bijection(vocab: Mapping[str, int]) -> None:
    """Check that the ids are 0 ... V-1, each once.

    Raises:
        CertificateError: names the first id that is missing, given twice or out of range.
    """
    if sorted(vocab.values()) == list(range(len(vocab))):
        return
    seen: dict[int, str] = {}
    for token, token_id in vocab.items():
        if token_id in seen:
            raise CertificateError(f"new vocabulary: id {token_id} belongs to both {seen[token_id]!r} and {token!r}")
        seen[token_id] = token
    gap = next(token_id for token_id in range(len(vocab)) if token_id not in seen)
    raise CertificateError(f"new vocabulary: no token has id {gap}, though there are {len(vocab)} tokens")


def sorted_ids(tokens: Iterable[str], ids: Mapping[str, int]) -> Ids:
    """Ids of those of the tokens that have one, sorted; int32."""
    return np.array(sorted({ids[token] for token in tokens if token in ids}), np.int32)


def unused_names(shape: str, count: int, taken: Collection[str]) -> list[str]:
    """Names that are not taken, made of ``shape`` with a number in place of ``{}``."""
    names = (name for n in range(len(taken) + count) if (name := shape.format(n)) not in taken)
    return list(islice(names, count))


def _processors(processor: Any) -> Iterator[dict[str, Any]]:
    """The processor, or the members of a sequence of processors at any depth, in order."""
    if processor is None:
        return
    kind = processor["type"]
    if kind == "Sequence":
        for member in processor["processors"]:
            yield from _processors(member)
    elif kind in _PLAIN_PROCESSORS | _PAIR_PROCESSORS | {"TemplateProcessing"}:
        yield processor
    else:
        raise UnsupportedTokenizerError(
            f"tokenizer.json: post_processor of type {kind!r} is not supported; supported are Sequence, "
            "TemplateProcessing, BertProcessing, RobertaProcessing and ByteLevel. Choose another teacher"
        )


def _remap_processor(processor: dict[str, Any], new_id: Mapping[str, int]) -> None:
    if processor["type"] in _PAIR_PROCESSORS:
        for side in ("sep", "cls"):
            token = processor[side][0]
            processor[side] = [token, _lookup(token, new_id, "post_processor")]
    elif processor["type"] == "TemplateProcessing":
        for entry in processor["special_tokens"].values():
            entry["ids"] = [_lookup(token, new_id, "post_processor") for token in entry["tokens"]]


def _lookup(token: str, new_id: Mapping[str, int], part: str) -> int:
    if token not in new_id:
        raise CertificateError(f"new tokenizer.json: `{part}` names {token!r}, which the new vocabulary lacks")
    return new_id[token]


def _contents(value: Any) -> Iterator[str]:
    """Token contents in a config value: a string, an added token as a mapping, or lists and mappings of them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping) and isinstance(value.get("content"), str):
        yield value["content"]
    elif isinstance(value, Mapping):
        for member in value.values():
            yield from _contents(member)
    elif isinstance(value, list | tuple):
        for member in value:
            yield from _contents(member)
