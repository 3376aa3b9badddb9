"""Which characters a vocabulary keeps, where no bytes stand for the others."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from itertools import chain

import numpy as np
import regex
from numpy.typing import NDArray

from langtailor.config.vocabulary import Alphabet
from langtailor.surgery.base import Family, Ids

#: Unicode's name for what has no script: private use and what is not assigned.
_NO_SCRIPT = "Unknown"


def kept_alphabet(family: Family, occurring: NDArray[np.bool_], choice: Alphabet) -> Ids:
    """The ids of the alphabet that stays, sorted.

    Args:
        family: the teacher's tokenizer.
        occurring: for each token, whether it occurs in the corpus.
        choice: the setting ``vocabulary.alphabet``.
    """
    whole, ids = family.alphabet_ids(), family.character_ids().tolist()
    if choice == "full" or not ids:
        return whole
    tokens = family.surfaces([family.tokens[i] or "" for i in np.flatnonzero(occurring).tolist()])
    used = set(chain.from_iterable(token for token in tokens if token))
    surfaces = family.surfaces([family.tokens[i] or "" for i in ids])
    idle = {i: text.strip() for i, text in zip(ids, surfaces, strict=True) if text and text.strip() not in used}
    if choice == "scripts":
        script_of = scripts(used.union(idle.values()))
        used_scripts = {script_of.get(character) for character in used} - {_NO_SCRIPT} | {None}
        idle = {i: text for i, text in idle.items() if script_of.get(text) not in used_scripts}
    return np.setdiff1d(whole, list(idle)).astype(np.int32)


def scripts(characters: Iterable[str]) -> dict[str, str]:
    """The script of each character (https://www.unicode.org/reports/tr24/); left out are those that scripts share.

    These are digits, punctuation, symbols and marks, and letters of a script whose name begins none of their names.
    """
    wanted = "".join(sorted(set(characters)))
    letters = (character for character in wanted if unicodedata.category(character).startswith("L"))
    # Most letters' names begin with their script: "GREEK SMALL LETTER ALPHA".
    names = {unicodedata.name(letter, _NO_SCRIPT).split()[0].split("-")[0] for letter in letters}
    return {character: name for name in sorted({*names, _NO_SCRIPT}) for character in _of_script(name, wanted)}


def _of_script(name: str, text: str) -> list[str]:
    """The characters of a text that are of a script; none where Unicode has no script of that name, or one for shared ones."""
    if name in ("COMMON", "INHERITED"):
        return []
    try:
        found: list[str] = regex.findall(rf"\p{{Script={name}}}", text)
    except regex.error:
        return []
    return found
