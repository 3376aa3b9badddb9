"""Long documents are cut at good places, into chunks that the teacher can read whole."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from langtailor.corpus.boundaries import Positions, last_grapheme_boundary, sentence_ends
from langtailor.corpus.chunking import Chunker, load_chunker
from langtailor.errors import ArtifactError

MERGES = [("e", "r"), ("l", "er"), ("Ġ", "b"), ("Ġb", "i"), ("Ġbi", "r"), ("a", "n"), ("i", "n"), ("ler", "in")]


def write_teacher(folder: Path) -> Path:
    """A folder with a byte-level tokenizer that, like real ones, frames texts, cuts them at 16 tokens and pads them."""
    tokens = [
        *sorted(pre_tokenizers.ByteLevel.alphabet()),
        *("".join(pair) for pair in MERGES),
        "[CLS]",
        "[SEP]",
        "[PAD]",
    ]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, MERGES))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["[CLS]", "[SEP]", "[PAD]"])
    special = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=16, pad_id=tokenizer.token_to_id("[PAD]"), pad_token="[PAD]")
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def count_with_specials(teacher: Path, text: str) -> int:
    tokenizer = Tokenizer.from_file(str(teacher / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return len(tokenizer.encode(text).ids)


def word_starts(texts: Sequence[str]) -> list[Positions]:
    return [np.array([match.start() for match in re.finditer(r"\S+", text)], np.int64) for text in texts]


def letter_starts(texts: Sequence[str]) -> list[Positions]:
    return [np.arange(len(text)) for text in texts]


def chunks_of(text: str, words: int) -> list[str]:
    return Chunker(word_starts, words).chunk([text])[0]


def test_a_text_that_fits_stays_whole() -> None:
    assert chunks_of("One two.\n\nThree four.", 4) == ["One two.\n\nThree four."]


def test_paragraphs_that_fit_together_stay_together() -> None:
    assert chunks_of("a b c\n\nd e f\n\ng h i", 6) == ["a b c\n\nd e f", "g h i"]


def test_a_paragraph_end_wins_over_a_later_sentence_end() -> None:
    assert chunks_of("A b c d.\n\nE f. G h.", 6) == ["A b c d.", "E f. G h."]


def test_a_paragraph_end_that_would_leave_a_chunk_half_empty_does_not() -> None:
    assert chunks_of("Title\n\nA b c. D e f. G h i.", 8) == ["Title\n\nA b c. D e f.", "G h i."]


def test_without_a_paragraph_end_the_last_line_end_then_sentence_end_then_word_is_taken() -> None:
    assert chunks_of("a b c\nd e. F g", 5) == ["a b c", "d e. F g"]
    assert chunks_of("a b c d. E f g", 6) == ["a b c d.", "E f g"]
    assert chunks_of("a b c d e f g", 3) == ["a b c", "d e f", "g"]


def test_text_without_spaces_is_cut_between_graphemes() -> None:
    assert Chunker(letter_starts, 5).chunk(["abe\u0301\u0323cdefg"])[0] == ["abe\u0301\u0323", "cdefg"]
    assert Chunker(letter_starts, 4).chunk(["abe\u0301\u0323cdefg"])[0] == ["ab", "e\u0301\u0323c", "defg"]


def test_a_longer_grapheme_than_a_chunk_is_cut_in_itself() -> None:
    assert Chunker(letter_starts, 4).chunk(["a" + "\u0301" * 9])[0] == [
        "a\u0301\u0301\u0301",
        "\u0301" * 4,
        "\u0301\u0301",
    ]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("He came. She left! Why? Well… “Go.” Now", ["He came.", "She left!", "Why?", "Well…", "“Go.”", "Now"]),
        ("It costs e.g. five euros.", ["It costs e.g. five euros."]),
        ("Pi is 3.14 today. Yes", ["Pi is 3.14 today.", "Yes"]),
        ("他来了。她走了！「为什么？」好", ["他来了。", "她走了！", "「为什么？」", "好"]),
        ("هل جاء؟ نعم. ٹھیک ہے۔ ہاں", ["هل جاء؟", "نعم.", "ٹھیک ہے۔", "ہاں"]),
        ("वह आया। वह गई॥ ठीक", ["वह आया।", "वह गई॥", "ठीक"]),
        ("Նա եկավ։ Այո", ["Նա եկավ։", "Այո"]),
        ("እሱ መጣ። አዎ", ["እሱ መጣ።", "አዎ"]),
    ],
)
def test_sentences_end_in_many_scripts(text: str, sentences: list[str]) -> None:
    cuts = [0, *(end for end in sentence_ends(text).tolist() if end < len(text)), len(text)]
    assert [text[a:b].strip() for a, b in pairwise(cuts)] == sentences


@pytest.mark.parametrize(
    "grapheme",
    ["e\u0301", "👩🏽\u200d💻", "🇹🇷", "क्षि", "각", "👍🏽", "1\ufe0f\u20e3", "🏴\U000e0067\U000e0062\U000e007f"],
)
def test_no_cut_falls_into_a_grapheme(grapheme: str) -> None:
    text = "x" + grapheme + "y"
    for end in range(2, 1 + len(grapheme)):
        assert last_grapheme_boundary(text, 0, end) == 1
    assert last_grapheme_boundary(text, 0, 1 + len(grapheme)) == 1 + len(grapheme)


def test_flags_are_parted_from_each_other() -> None:
    assert last_grapheme_boundary("🇹🇷🇩🇪🇫🇷", 0, 5) == 4


texts = (
    st.text(st.sampled_from("ab er lerin bir.\n。é語🇹🇷क्षि!\u0301"), min_size=1, max_size=300)
    .map(str.strip)
    .filter(bool)
)


@given(texts, st.integers(8, 40))
def test_chunks_are_short_enough_and_lose_nothing(teacher: Path, text: str, limit: int) -> None:
    chunks = load_chunker(teacher, limit).chunk([text])[0]
    assert "".join("".join(chunks).split()) == "".join(text.split())
    assert all(count_with_specials(teacher, chunk) <= limit or len(chunk) == 1 for chunk in chunks)
    assert all(chunk == chunk.strip() and chunk for chunk in chunks)


@given(st.lists(texts, max_size=5), st.integers(8, 40))
def test_a_text_is_cut_the_same_whatever_stands_beside_it(teacher: Path, several: list[str], limit: int) -> None:
    chunker = load_chunker(teacher, limit)
    assert chunker.chunk(several) == [chunker.chunk([text])[0] for text in several]


def test_special_tokens_count_and_the_files_truncation_and_padding_do_not(teacher: Path) -> None:
    chunker = load_chunker(teacher, 30)
    assert chunker.fits(["x" * 28, "x" * 29, ""]) == [True, False, True]


def test_a_chunk_that_needs_more_tokens_alone_than_in_its_place_is_made_shorter() -> None:
    def crowded(texts: Sequence[str]) -> list[Positions]:
        # Every text begins with two tokens more, as with a tokenizer that spells a first word differently.
        return [np.concatenate([[0, 0], starts]).astype(np.int64) for starts in word_starts(texts)]

    text = " ".join("abcdefghijklmnopqrstuvwxyz")
    chunks = Chunker(crowded, 8).chunk([text])[0]
    assert " ".join(chunks) == text
    assert {len(starts) for starts in crowded(chunks)} <= set(range(3, 9))
    assert max(len(starts) for starts in crowded(chunks)) == 8


def test_white_space_alone_gives_no_chunk() -> None:
    assert Chunker(letter_starts, 4).chunk([" " * 9]) == [[]]


@pytest.mark.parametrize("content", [None, "{}", "no JSON"])
def test_a_teacher_without_a_tokenizer_is_refused_by_the_files_name(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ArtifactError, match=r"tokenizer\.json: cannot be read as a tokenizer"):
        load_chunker(tmp_path, 30)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_teacher(tmp_path_factory.mktemp("teacher"))
