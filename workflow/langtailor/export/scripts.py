"""Texts in many scripts, to see that an export's tokenizer gives the student's ids."""

from __future__ import annotations

import random

#: First and last letter of each script.
SCRIPT_RANGES = {
    "Latin": ("a", "z"),
    "Latin with marks": ("à", "ž"),
    "Greek": ("α", "ω"),
    "Cyrillic": ("а", "я"),
    "Armenian": ("ա", "ֆ"),
    "Hebrew": ("א", "ת"),
    "Arabic": ("ب", "ي"),
    "Syriac": ("ܐ", "ܬ"),
    "Thaana": ("ހ", "ޥ"),
    "Devanagari": ("अ", "ह"),
    "Bengali": ("অ", "ন"),
    "Gurmukhi": ("ਅ", "ਨ"),
    "Gujarati": ("અ", "ન"),
    "Oriya": ("ଅ", "ନ"),
    "Tamil": ("க", "ஹ"),
    "Telugu": ("అ", "హ"),
    "Kannada": ("ಅ", "ಹ"),
    "Malayalam": ("അ", "ഹ"),
    "Sinhala": ("අ", "න"),
    "Thai": ("ก", "ฮ"),
    "Lao": ("ກ", "ຮ"),
    "Tibetan": ("ཀ", "ཧ"),
    "Myanmar": ("က", "အ"),
    "Georgian": ("ა", "ჰ"),
    "Hangul": ("가", "힣"),
    "Ethiopic": ("ሀ", "ፐ"),
    "Khmer": ("ក", "អ"),
    "Hiragana": ("ぁ", "ん"),
    "Katakana": ("ァ", "ン"),
    "Han": ("一", "鿿"),
    "emoji": ("😀", "🙏"),
    "digits and signs": ("!", "@"),
}
_EACH = 18


def texts_in_many_scripts() -> list[str]:
    """Some hundred texts of words of each script's letters, the same at each call, without white space around them."""
    draw = random.Random(0)
    texts = []
    for first, last in SCRIPT_RANGES.values():
        letters = [chr(code) for code in range(ord(first), ord(last) + 1)]

        def word(letters: list[str] = letters) -> str:
            return "".join(draw.choices(letters, k=draw.randint(1, 9)))

        texts += [" ".join(word() for _ in range(draw.randint(1, 12))) for _ in range(_EACH - 2)]
        texts += [f"{word()}, {word().upper()}-{draw.randint(0, 9_999)} test.", f"{word()}\n\t{word()}   {word()}"]
    return texts
