"""Splitting text into the pieces that no token spans.

The order is the library's: added tokens are matched on the raw text, the rest is normalised, further added tokens are
matched on the normalised text, and what is left is pre-tokenized (``tokenizers/src/tokenizer/mod.rs``). Byte-fallback
families do not pre-tokenize; there a piece is split further at boundaries of which the merges prove that no token spans
them.
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


class PieceSplitter:
    """Splits raw text into pieces in the family's spelling; an added token is a piece of its own.

    Args:
        spec: content of ``tokenizer.json``.
        boundaries: where a piece is split further, see :func:`provable_boundaries`; ``None`` leaves pieces whole.
    """

    def __init__(self, spec: Mapping[str, Any], boundaries: re.Pattern[str] | None) -> None:
        at_start = _without_vocabulary(spec)
        self._normalizer, self._boundaries = at_start.normalizer, boundaries
        self._pre_tokenizers = (_without_vocabulary(_after_added_token(spec)).pre_tokenizer, at_start.pre_tokenizer)
        entries = added_tokens(spec).values()
        self._raw = _AddedTokenMatcher([(e["content"], e) for e in entries if not e["normalized"]])
        normalised = [(self._normalise(e["content"]), e) for e in entries if e["normalized"]]
        self._normalised = _AddedTokenMatcher(normalised)

    def pieces(self, texts: Iterable[str]) -> Iterator[str]:
        """The pieces of all texts, in order."""
        for batch in batched(texts, _TEXTS_AT_ONCE):
            for segments in self._raw.split(batch):
                for start, segment, added in segments:
                    if added is not None:
                        yield added
                    else:
                        yield from self._split_segment(self._normalise(segment), at_start=start == 0)

    def _split_segment(self, segment: str, *, at_start: bool) -> Iterator[str]:
        for start, text, added in chain.from_iterable(self._normalised.split([segment])):
            if added is not None:
                yield added
                continue
            pre_tokenizer = self._pre_tokenizers[at_start and start == 0]
            pieces = [text] if pre_tokenizer is None else [piece for piece, _ in pre_tokenizer.pre_tokenize_str(text)]
            for piece in pieces:
                yield from filter(None, self._boundaries.split(piece) if self._boundaries else (piece,))

    def _normalise(self, text: str) -> str:
        return text if self._normalizer is None else str(self._normalizer.normalize_str(text))


class _AddedTokenMatcher:
    """Finds added tokens by the library itself: its encoding with a model that has no other token.

    Args:
        entries: the text that is matched, and the entry of ``added_tokens``.
    """

    def __init__(self, entries: Collection[tuple[str, Mapping[str, Any]]]) -> None:
        from tokenizers import AddedToken, Tokenizer, models

        self._contents: dict[int, str] = {}
        self._tokenizer: Tokenizer | None = None
        if not entries:
            return
        self._tokenizer = Tokenizer(models.WordLevel({"": 0}, unk_token=""))
        flags = ("single_word", "lstrip", "rstrip")
        self._tokenizer.add_tokens(
            [AddedToken(text, normalized=False, **{flag: e[flag] for flag in flags}) for text, e in entries]
        )
        ids = self._tokenizer.get_vocab(with_added_tokens=True)
        self._contents = {ids[text]: entry["content"] for text, entry in entries}

    def split(self, texts: Collection[str]) -> Iterator[Sequence[tuple[int, str, str | None]]]:
        """The segments of each text: start in the text, the segment, and the added token that it is or ``None``."""
        if self._tokenizer is None:
            yield from ([(0, text, None)] for text in texts)
            return
        for text, encoding in zip(texts, self._tokenizer.encode_batch(list(texts)), strict=True):
            yield [
                (start, text[start:end], self._contents.get(token_id))
                for token_id, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)
            ]


def provable_boundaries(products: Collection[str], mark: str, encodable: Collection[str]) -> re.Pattern[str] | None:
    """Where text can be split because no merge makes a token that spans both neighbours.

    Candidates are the positions before the space mark and on both sides of a newline. With no token across, the runs on
    both sides are independent of each other (see :mod:`langtailor.surgery.bpe.merges`).

    Args:
        products: every token that a merge makes.
        mark: the space mark.
        encodable: characters with a token of their own or in bytes. An unknown character is fused with unknown
            neighbours, so mark and newline must be encodable.

    Returns:
        A pattern of zero width to split at, or ``None`` when nothing can be proved.
    """
    before_mark, before_newline, after_newline = set[str](), set[str](), set[str]()
    for token in products:
        if mark in token[1:]:
            before_mark.update(left for left, right in pairwise(token) if right == mark)
        if "\n" in token:
            before_newline.update(left for left, right in pairwise(token) if right == "\n")
            after_newline.update(right for left, right in pairwise(token) if left == "\n")
    patterns = []
    if mark in encodable:
        patterns.append(f"(?<={_none_of(before_mark)})(?={re.escape(mark)})")
    if "\n" in encodable:
        patterns += [f"(?<={_none_of(before_newline)})(?=\n)", f"(?<=\n)(?={_none_of(after_newline)})"]
    return re.compile("|".join(patterns)) if patterns else None


def _none_of(characters: Collection[str]) -> str:
    """A pattern for one character outside the set."""
    return f"[^{''.join(re.escape(c) for c in sorted(characters))}]" if characters else r"[\s\S]"


def _without_vocabulary(spec: Mapping[str, Any]) -> Tokenizer:
    """A tokenizer with the normalizer and the pre-tokenizer of ``tokenizer.json`` and an empty vocabulary."""
    from tokenizers import Tokenizer

    sections = {section: spec.get(section) for section in ("normalizer", "pre_tokenizer")}
    empty = {"type": "BPE", "vocab": {}, "merges": []}
    return Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], **sections, "model": empty}))


def _after_added_token(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The pre-tokenizer for text after an added token, where Metaspace's ``first`` puts no mark."""
    sections = {"pre_tokenizer": copy.deepcopy(spec.get("pre_tokenizer"))}
    pending = [sections["pre_tokenizer"]]
    while pending:
        component = pending.pop()
        if isinstance(component, dict):
            if component.get("prepend_scheme") == "first":
                component["prepend_scheme"] = "never"
            pending.extend(component.get("pretokenizers") or ())
    return sections
