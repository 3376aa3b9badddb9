"""Which characters a vocabulary keeps, where no bytes stand for the others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from fontTools import unicodedata
from numpy.typing import NDArray

from langtailor.config.vocabulary import Alphabet
from langtailor.surgery.base import Family, Ids

#: Unicode's scripts "Unknown" (private use and what is not assigned), and "Common" and "Inherited".
_NO_SCRIPT, _SHARED = "Zzzz", ("Zyyy", "Zinh")


@dataclass(frozen=True)
class KeptAlphabet:
    """What the setting ``vocabulary.alphabet`` keeps and what it gives up.

    Attributes:
        ids: ids of the alphabet that stays, sorted.
        given_up: ids of the tokens with a character that the setting gives up, of one character or more; sorted.
    """

    ids: Ids
    given_up: Ids = field(default_factory=lambda: np.empty(0, np.int32))

    @classmethod
    def of(cls, family: Family, occurring: NDArray[np.bool_], choice: Alphabet) -> Self:
        """The alphabet of a corpus.

        Args:
            family: the teacher's tokenizer.
            occurring: for each token, whether it occurs in the corpus.
            choice: the setting ``vocabulary.alphabet``.
        """
        whole, single = family.alphabet_ids(), family.character_ids()
        if choice == "full" or not len(single):
            return cls(whole)
        texts = [text or "" for text in family.surfaces([token or "" for token in family.tokens])]
        characters, present = set("".join(texts)), set("".join(texts[i] for i in np.flatnonzero(occurring).tolist()))
        if choice == "scripts":
            present |= _of_their_scripts(present, characters)
        missing = characters - present - {" "}
        given_up = np.flatnonzero([not missing.isdisjoint(text) for text in texts]).astype(np.int32)
        return cls(np.setdiff1d(whole, np.intersect1d(single, given_up)).astype(np.int32), given_up)


def _of_their_scripts(present: set[str], characters: set[str]) -> set[str]:
    """Those of the characters that are of a script of the present ones, or that scripts share."""
    script_of = scripts(present | characters)
    used = {script_of.get(character) for character in present} - {_NO_SCRIPT} | {None}
    return {character for character in characters if script_of.get(character) in used}


def scripts(characters: Iterable[str]) -> dict[str, str]:
    """The script of each character, as Unicode's four letters (``Latn``); left out are those that scripts share.

    These are digits, punctuation, symbols and marks: ``Script=Common`` and ``Script=Inherited`` of
    https://www.unicode.org/reports/tr24/.
    """
    script_of = {character: unicodedata.script(character) for character in characters}
    return {character: script for character, script in script_of.items() if script not in _SHARED}
