"""Cutting text into pieces that no token crosses.

The order is the library's: added tokens are matched on the raw text, what is left is normalised, further added tokens
are matched on the normalised text, and the rest is pre-tokenized (``tokenizers/src/tokenizer/mod.rs``). Byte-fallback
families do not pre-tokenize; there a piece is cut further at the neighbours of which the merges prove that no token
holds both.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

from langtailor.storage.batching import batched
from langtailor.surgery.spec import added_tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_TEXTS_AT_ONCE = 1_000


class Cutter:
    """Cuts raw text into pieces in the family's own spelling; an added token is a piece of its own.

    Args:
        spec: content of ``tokenizer.json``.
        cuts: where a piece is cut further, see :func:`provable_cuts`; ``None`` leaves pieces whole.
    """

    def __init__(self, spec: Mapping[str, Any], cuts: re.Pattern[str] | None) -> None:
        first = _without_vocabulary(spec)
        self._normalizer, self._cuts = first.normalizer, cuts
        self._pre_tokenizers = (_without_vocabulary(_later_segments(spec)).pre_tokenizer, first.pre_tokenizer)
        entries = added_tokens(spec).values()
        self._raw = _Splitter([(e["content"], e) for e in entries if not e["normalized"]])
        self._normalised = _Splitter([(self._normalise(e["content"]), e) for e in entries if e["normalized"]])

    def pieces(self, texts: Iterable[str]) -> Iterator[str]:
        """The pieces of all texts, in order."""
        for batch in batched(texts, _TEXTS_AT_ONCE):
            for segments in self._raw.split(batch):
                for start, segment, added in segments:
                    if added is not None:
                        yield added
                    else:
                        yield from self._cut_segment(self._normalise(segment), first=start == 0)

    def _cut_segment(self, segment: str, *, first: bool) -> Iterator[str]:
        for start, part, added in chain.from_iterable(self._normalised.split([segment])):
            if added is not None:
                yield added
                continue
            pre_tokenizer = self._pre_tokenizers[first and start == 0]
            pieces = [part] if pre_tokenizer is None else [piece for piece, _ in pre_tokenizer.pre_tokenize_str(part)]
            for piece in pieces:
                yield from filter(None, self._cuts.split(piece) if self._cuts else (piece,))

    def _normalise(self, text: str) -> str:
        return text if self._normalizer is None else str(self._normalizer.normalize_str(text))


class _Splitter:
    """Finds added tokens exactly as the library does, by letting it: a model that knows nothing yields the gaps."""

    def __init__(self, entries: Collection[tuple[str, Mapping[str, Any]]]) -> None:
        from tokenizers import AddedToken, Tokenizer, models

        self._contents: dict[int, str] = {}
        self._tokenizer: Tokenizer | None = None
        if not entries:
            return
        self._tokenizer = Tokenizer(models.WordLevel({"": 0}, unk_token=""))
        flags = ("single_word", "lstrip", "rstrip")
        self._tokenizer.add_tokens(
            [AddedToken(shown, normalized=False, **{flag: e[flag] for flag in flags}) for shown, e in entries]
        )
        ids = self._tokenizer.get_vocab(with_added_tokens=True)
        self._contents = {ids[shown]: entry["content"] for shown, entry in entries}

    def split(self, texts: Collection[str]) -> Iterator[Sequence[tuple[int, str, str | None]]]:
        """For each text its segments: start in the text, the segment, the added token that it is or ``None``."""
        if self._tokenizer is None:
            yield from ([(0, text, None)] for text in texts)
            return
        for text, found in zip(texts, self._tokenizer.encode_batch(list(texts)), strict=True):
            yield [
                (start, text[start:end], self._contents.get(token_id))
                for token_id, (start, end) in zip(found.ids, found.offsets, strict=True)
            ]


def provable_cuts(products: Collection[str], mark: str, known: Collection[str]) -> re.Pattern[str] | None:
    """Where text can be cut because no merge makes a token that holds both neighbours.

    Looked at are the places before the space mark and on both sides of a newline. With no token across, the runs on
    both sides do not see each other (see :mod:`langtailor.surgery.bpe.merges`).

    Args:
        products: every token that a merge makes.
        mark: the space mark.
        known: characters with a symbol of their own or in bytes. An unknown one is fused with unknown neighbours, so
            that mark and newline must be known.

    Returns:
        A pattern of zero width to split at, or ``None`` when nothing is proven.
    """
    before_mark, before_newline, after_newline = set[str](), set[str](), set[str]()
    for token in products:
        if mark in token[1:]:
            before_mark.update(left for left, right in pairwise(token) if right == mark)
        if "\n" in token:
            before_newline.update(left for left, right in pairwise(token) if right == "\n")
            after_newline.update(right for left, right in pairwise(token) if left == "\n")
    cuts = []
    if mark in known:
        cuts.append(f"(?<={_none_of(before_mark)})(?={re.escape(mark)})")
    if "\n" in known:
        cuts += [f"(?<={_none_of(before_newline)})(?=\n)", f"(?<=\n)(?={_none_of(after_newline)})"]
    return re.compile("|".join(cuts)) if cuts else None


def _none_of(characters: Collection[str]) -> str:
    """A pattern for one character outside the set."""
    return f"[^{''.join(re.escape(c) for c in sorted(characters))}]" if characters else r"[\s\S]"


def _without_vocabulary(spec: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer without its vocabulary, for its normalizer and pre-tokenizer."""
    from tokenizers import Tokenizer

    parts = {section: spec.get(section) for section in ("normalizer", "pre_tokenizer")}
    empty = {"type": "BPE", "vocab": {}, "merges": []}
    return Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], **parts, "model": empty}))


def _later_segments(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The same parts for text behind an added token, where Metaspace's ``first`` puts no mark."""
    parts = {"pre_tokenizer": copy.deepcopy(spec.get("pre_tokenizer"))}
    waiting = [parts["pre_tokenizer"]]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if part.get("prepend_scheme") == "first":
                part["prepend_scheme"] = "never"
            waiting.extend(part.get("pretokenizers") or ())
    return parts
