"""Where a text may be split: after paragraphs, lines, sentences and words, and never inside a grapheme.

A position ``p`` splits a text into ``text[:p]`` and ``text[p:]``. Ends of units lie before the white space that follows.
"""

from __future__ import annotations

import re
import unicodedata

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]

_CLOSERS = r"[\"'”’»›)\]}」』】》〉）]*"
#: Full stops that white space follows: Latin, Greek, Cyrillic, Hebrew, Arabic, Urdu, Syriac.
_SPACED_STOP = re.compile(rf"[.!?…؟۔܀܁܂]+{_CLOSERS}(?=\s+(\S)|\s*$)")
#: Full stops that end a sentence whatever follows: CJK, Devanagari and its kin, Armenian, Ethiopic, Khmer, Burmese,
#: Tibetan, Mongolian, Javanese, Meetei Mayek, Vai.
_STOP = re.compile(rf"[。！？｡।॥։።፧៕។။།༎᠃꧉꯫꘎]+{_CLOSERS}")
_REGIONAL_INDICATORS = range(0x1F1E6, 0x1F200)
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_HANGUL_JAMO = range(0x1100, 0x1200)
_TAGS = range(0xE0020, 0xE0080)
_JOINERS = "\u200c\u200d"
_VIRAMA_CLASS = 9


def unit_ends(text: str) -> tuple[Positions, ...]:
    """Ends of paragraphs, lines, sentences and words, in this order; each array is sorted."""
    ends = [[match.start() for match in re.finditer(gap, text)] for gap in (r"\n\n+", r"\n+", r"\s+")]
    paragraphs, lines, words = (np.array(positions, np.int64) for positions in ends)
    return paragraphs, lines, sentence_ends(text), words


def sentence_ends(text: str) -> Positions:
    """Ends of sentences in many scripts, sorted. A stop before a lower-case word is an abbreviation's."""
    ends = {match.end() for match in _SPACED_STOP.finditer(text) if not (match[1] or "").islower()}
    ends.update(match.end() for match in _STOP.finditer(text))
    return np.array(sorted(ends), np.int64)


def last_grapheme_boundary(text: str, begin: int, end: int) -> int:
    """The last position in ``begin < p <= end`` between two graphemes; ``end`` where there is none.

    Graphemes are those of UAX 29 (https://www.unicode.org/reports/tr29/) as far as running text needs them, and
    conjuncts of Indic scripts besides. ``begin + 1`` is returned where ``end`` does not exceed ``begin``.
    """
    end = max(end, begin + 1)
    return next((position for position in range(end, begin, -1) if _is_grapheme_boundary(text, position)), end)


def _is_grapheme_boundary(text: str, position: int) -> bool:
    if position >= len(text):
        return True
    before, after = text[position - 1], text[position]
    return not (
        unicodedata.category(after)[0] == "M"
        or after in _JOINERS
        or before == "\u200d"
        or ord(after) in _SKIN_TONES
        or ord(after) in _TAGS
        or (ord(after) in _HANGUL_JAMO and ord(before) in _HANGUL_JAMO)
        or (unicodedata.combining(before) == _VIRAMA_CLASS and after.isalpha())
        or (ord(after) in _REGIONAL_INDICATORS and _odd_indicators_before(text, position))
    )


def _odd_indicators_before(text: str, position: int) -> bool:
    start = position
    while start and ord(text[start - 1]) in _REGIONAL_INDICATORS:
        start -= 1
    return (position - start) % 2 == 1
