"""Cleaning takes away what is no text and keeps what is."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langtailor.config.corpus import CleaningSettings
from langtailor.corpus.cleaning import clean, letter_share, rejection_reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("Merhaba dünya.", "Merhaba dünya.", id="plain text stays"),
        pytest.param("u\u0308ber", "über", id="NFC"),
        pytest.param("a\0b\x07c\x9fd", "abcd", id="control characters"),
        pytest.param("\ufeffba\u00adna\u200bne\u2060 \u200eשלום\u200f", "banane שלום", id="invisible characters"),
        pytest.param("a\t b\u00a0\u3000c", "a b c", id="runs of spaces"),
        pytest.param("  a \r\n b\r\r\r c\u2029d\u2028e ", "a\nb\n\nc\n\nd\ne", id="lines and paragraphs"),
        pytest.param("x<br/>y <b class='k'>z</b><!-- no\nno -->", "x\ny z", id="HTML tags and comments"),
        pytest.param("if a < b and c > d, use <stdio.h>", "if a < b and c > d, use <stdio.h>", id="no tags"),
        pytest.param(
            "fish &amp; chips&nbsp;&#8212; &amp;quot;ok&amp;quot; &foo;", 'fish & chips — "ok" &foo;', id="entities"
        ),
        pytest.param("AT&T; R&D", "AT&T; R&D", id="ampersands"),
        pytest.param('A<ref name="x" /> B<ref>Smith, p. 3</ref> C<references/>', "A B C", id="references"),
        pytest.param("E <math>x^2</math>= 1<style>p {}</style>", "E = 1", id="formulas and styles"),
        pytest.param("see [[Ankara|the capital]] and [[İzmir]]", "see the capital and İzmir", id="wiki links"),
        pytest.param("[[File:a.jpg|thumb|A [[cat]]]]text[[Category:X]]", "text", id="links that are not shown"),
        pytest.param("a {{lang|tr|{{nested}}}} b {| class\n|-\n| x |}c", "a b c", id="templates and tables"),
        pytest.param("[http://example.org an example] [https://a.b]", "an example", id="web links"),
        pytest.param("== Tarih ==\nmetin\n=== Alt ===", "Tarih\nmetin\nAlt", id="headings"),
        pytest.param("'''bold''' and ''italic'' don't __NOTOC__", "bold and italic don't", id="emphasis"),
        pytest.param("a == b", "a == b", id="an equation is no heading"),
        pytest.param("<div>&nbsp;</div>{{x}}\n\n", "", id="nothing but markup"),
    ],
)
def test_cleaning(text: str, expected: str) -> None:
    assert clean(text) == expected


@pytest.mark.parametrize(
    "text",
    ["می\u200cخواهم", "ക്\u200d", "র\u200d্য", "क्\u200cष", "👩🏽\u200d💻", "❤\ufe0f\u200d🔥", "🏳\ufe0f\u200d🌈"],
)
def test_joiners_that_shape_letters_and_emoji_stay(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize("text", ["a\u200cb", "\u200dx", "語\u200c語", "می\u200c\u200cخواهم", "a \u200db"])
def test_joiners_that_do_nothing_go(text: str) -> None:
    assert clean(text).count("\u200c") + clean(text).count("\u200d") == (1 if text.startswith("می") else 0)


@given(st.text())
def test_clean_text_is_normal_and_neat(text: str) -> None:
    cleaned = clean(text)
    assert unicodedata.is_normalized("NFC", cleaned)
    assert cleaned == cleaned.strip()
    assert not any(unicodedata.category(c) == "Cc" for c in cleaned if c != "\n")
    assert "  " not in cleaned and " \n" not in cleaned and "\n " not in cleaned and "\n\n\n" not in cleaned


@given(st.text(st.characters(categories=["L", "Nd"], include_characters=" .,\n\u200c\u200d\u0301"), max_size=60))
def test_cleaning_text_without_markup_twice_is_cleaning_it_once(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@pytest.mark.parametrize(
    "piece",
    ["<ref>", "<!--", "[[", "{{", "{|", "[http://", "== ", "&amp;", "<b ", "[[a|", "'", "\u200c", "&#38;", "==\n"],
)
def test_no_text_makes_cleaning_slow(piece: str) -> None:
    hostile = piece * (100_000 // len(piece))
    start = time.process_time()
    clean(hostile)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("text", "share"),
    [("abc", 1.0), ("a1 b2", 0.5), ("क्षि", 1.0), ("語。", 0.5), ("12 34", 0.0), ("", 0.0), (" \n", 0.0)],
)
def test_letter_share_counts_letters_and_marks_over_visible_characters(text: str, share: float) -> None:
    assert letter_share(text) == share


def test_rejection_reasons_are_named() -> None:
    settings = CleaningSettings(min_characters=5, min_letter_share=0.5)
    assert rejection_reason("abcd", settings) == "short"
    assert rejection_reason("a 1 2 3 4", settings) == "few_letters"
    assert rejection_reason("abc12", settings) is None
