"""Words of the user's own that become tokens."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langtailor.errors import SourceError
from langtailor.models.tokenizer_file import tokenizer_of
from langtailor.surgery.base import Family

_LOG = logging.getLogger("langtailor")
_UNKNOWN = "[UNK]"
_LONGEST_WORD = 10_000
_EXAMPLES = 10


@dataclass(frozen=True)
class WordList:
    """Words that become tokens, as spelled after a space.

    Attributes:
        words: each as the teacher's model gets it, counted once.
        texts: each as text, without the space.
    """

    words: Mapping[str, int]
    texts: tuple[str, ...]

    @classmethod
    def read(cls, file: Path, family: Family) -> WordList:
        """Read a file of one word a line; empty lines are passed over.

        Entries that the teacher's tokenizer parts into several words can be no token: they are left out with a warning.

        Raises:
            SourceError: the file cannot be read, or no entry can be a token.
        """
        try:
            entries = dict.fromkeys(line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines())
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"{file}: cannot be read as words, one per line, in UTF-8 ({error})") from error
        entries.pop("", None)
        parts = {entry: list(family.words([f" {entry}"])) for entry in entries}
        whole = [words[0] for words in parts.values() if len(words) == 1]
        surfaces = dict(zip(whole, family.surfaces(whole), strict=True))
        words = {word: text for word, text in surfaces.items() if text is not None and text.startswith(" ")}
        if not words:
            raise SourceError(f"{file}: contains no word that can be a token; give one word per line")
        if several := [entry for entry, found in parts.items() if len(found) != 1]:
            _LOG.warning(
                "%s: the teacher's tokenizer splits %s entries into several words, so they become no tokens, such as %s",
                file,
                f"{len(several):,}",
                several[:_EXAMPLES],
            )
        return cls(dict.fromkeys(words, 1), tuple(text.removeprefix(" ") for text in words.values()))

    def donor(self) -> dict[str, Any]:
        """The ``tokenizer.json`` of a donor whose tokens are these words."""
        vocab = {text: i for i, text in enumerate((_UNKNOWN, *self.texts))}
        added = {"id": 0, "content": _UNKNOWN, "special": True, "normalized": False}
        return {
            "added_tokens": [added | dict.fromkeys(("single_word", "lstrip", "rstrip"), False)],
            "normalizer": None,
            "pre_tokenizer": {"type": "WhitespaceSplit"},
            "post_processor": None,
            "decoder": None,
            "model": {
                "type": "WordPiece",
                "unk_token": _UNKNOWN,
                "continuing_subword_prefix": "##",
                "max_input_chars_per_word": _LONGEST_WORD,
                "vocab": vocab,
            },
        }

    @property
    def most_rows(self) -> int:
        """Rows that suffice for the words and, in BPE, for all parts that they are merged from."""
        return sum(len(text.encode()) + 1 for text in self.texts)

    def added_to(self, words: Mapping[str, int]) -> Counter[str]:
        """Counts of words, with each of these counted once more."""
        return Counter(words) + Counter(self.words)

    def tell_missing(self, spec: Mapping[str, Any]) -> None:
        """Warn of words that a new tokenizer does not have as one token.

        Args:
            spec: content of its ``tokenizer.json``.
        """
        tokenizer = tokenizer_of(spec)
        rows = tokenizer.encode_batch([f"x {text}" for text in self.texts], add_special_tokens=False)
        alone = len(tokenizer.encode("x", add_special_tokens=False).ids)
        missing = [text for text, row in zip(self.texts, rows, strict=True) if len(row.ids) != alone + 1]
        if missing:
            _LOG.warning(
                "%s of the %s words of vocabulary.graft.tokens become no tokens, such as %s: raise vocabulary.size or "
                "vocabulary.graft.share",
                f"{len(missing):,}",
                f"{len(self.texts):,}",
                missing[:_EXAMPLES],
            )
