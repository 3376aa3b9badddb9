"""Splitting at spaces: where the proof holds, the parts have the tokens of the whole; where it cannot, it does not hold."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from langtailor.counts.count import count_ids
from langtailor.counts.presplit import PROBE, WHITE, Presplit, prove_presplit
from langtailor.counts.split_pattern import splits_before_spaces
from langtailor.counts.words import WeightedTexts, WordReader
from langtailor.storage.artifacts import Manifest
from langtailor.storage.tables import CORPUS, write_table
from tests.unit.surgery_teachers import TEXTS, byte_level_spec, sentencepiece_model, unigram_spec, wordpiece_spec

QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = "|".join(
    [
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ]
)
LIVELY = ["<mask>", "<s>", "[MASK]", "[CLS]", "<|end|>", "<b>", "<b>", "<i>", "  ", "\n\n", "▁▁", "<unused1>"]
ODD = [
    "\u200b", "\ufffd", "\u0600", "\u06dd", "\xa0\u0301", "´", "¨", "\u0301", "▁", "\u2028", "\x1c", "\x85", "\x00",
    "\u3000", "ﷺ", "ﾞ", "か\u3099", "각", "\u1112\u1161\u11ab", "क्ष", "🇹🇷", "👩‍👩‍👧", "İ", "ſ", "x", "A\u030a", "ά", "Σ",
]  # fmt: skip


def as_spec(tokenizer: Tokenizer) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(tokenizer.to_str())
    return spec


def with_merges(spec: dict[str, Any], *pairs: tuple[str, str]) -> dict[str, Any]:
    model = spec["model"]
    added = {left + right: len(model["vocab"]) + n for n, (left, right) in enumerate(pairs)}
    merges = [*model["merges"], *map(list, pairs)]
    return spec | {"model": model | {"vocab": model["vocab"] | added, "merges": merges}}


# -- tokenizers, configured as the real ones ---------------------------------------------------------------------------


def bert(**options: Any) -> dict[str, Any]:
    return json.loads(wordpiece_spec(**options)) | {"truncation": None, "padding": None}


def xlmr() -> dict[str, Any]:
    return unigram_spec(sentencepiece_model())


def xlmr_that_folds_spaces() -> dict[str, Any]:
    """As BGE-M3: the charsmap, then runs of spaces made one; Metaspace alone."""
    spec = xlmr()
    fold = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
    spec["normalizer"] = {"type": "Sequence", "normalizers": [spec["normalizer"], fold]}
    spec["pre_tokenizer"] = spec["pre_tokenizer"]["pretokenizers"][1]
    return spec


def t5() -> dict[str, Any]:
    spec = xlmr_that_folds_spaces()
    charsmap, fold = spec["normalizer"]["normalizers"]
    strip = {"type": "Strip", "strip_left": False, "strip_right": True}
    spec["normalizer"]["normalizers"] = [charsmap, strip, fold | {"content": "▁"}]
    spec["pre_tokenizer"] |= {"prepend_scheme": "first"}
    return spec


def byte_level(
    pattern: str | None = None, normalizer: Any = None, prefix: bool = False, digits: bool = False
) -> dict[str, Any]:
    tokenizer = Tokenizer.from_str(byte_level_spec())
    tokenizer.normalizer = normalizer
    letters = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=pattern is None)
    parts = [pre_tokenizers.Split(Regex(pattern), "isolated")] if pattern else []
    parts = [pre_tokenizers.Digits(individual_digits=True)] * digits + parts
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*parts, letters]) if parts else letters
    tokenizer.add_tokens([AddedToken("   ", normalized=True), AddedToken("<b>", normalized=True, single_word=True)])
    tokenizer.add_special_tokens([AddedToken("[MASK]", lstrip=True), AddedToken("<mask>", rstrip=True)])
    return as_spec(tokenizer)


@cache
def _fallback() -> str:
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    plain = ["<unk>", "<s>", "<unused1>", "▁▁", "▁▁▁", "\n\n", "<b>"]
    trainer = trainers.BpeTrainer(vocab_size=800, special_tokens=[*plain, *bytes_], show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    spec = as_spec(tokenizer)
    spec["model"]["merges"].insert(0, ["▁", "▁"])
    spec["added_tokens"] = [entry for entry in spec["added_tokens"] if entry["content"] in plain]
    return json.dumps(spec)


def gemma() -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(_fallback())
    spec["pre_tokenizer"] = {
        "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False
    }  # fmt: skip
    return spec


def llama() -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(_fallback())
    prepend = {"type": "Prepend", "prepend": "▁"}
    spec["normalizer"] = {"type": "Sequence", "normalizers": [prepend, spec["normalizer"]]}
    spec["pre_tokenizer"] = None
    return spec


def mistral() -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(_fallback())
    spec["normalizer"] = None
    spec["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    return spec


PROVEN: dict[str, Callable[[], dict[str, Any]]] = {
    "bert": bert,
    "cased bert": lambda: bert(lowercase=False),
    "xlm-r": xlmr,
    "xlm-r that folds spaces": xlmr_that_folds_spaces,
    "t5": t5,
    "modernbert": lambda: byte_level(normalizer=normalizers.NFC()),
    "qwen": lambda: byte_level(QWEN, normalizers.NFC()),
    "llama 3": lambda: byte_level(LLAMA3),
    "o200k": lambda: byte_level(O200K),
    "roberta with a prefix": lambda: byte_level(prefix=True),
    "compatibility forms and digits": lambda: byte_level(normalizer=normalizers.NFKC(), digits=True),
    "accents and controls off": lambda: byte_level(
        normalizer=normalizers.Sequence([normalizers.Nmt(), normalizers.NFD(), normalizers.StripAccents()])
    ),
    "gemma": gemma,
    "llama": llama,
    "mistral": mistral,
}


@cache
def proven(name: str) -> tuple[Tokenizer, Presplit]:
    spec = PROVEN[name]()
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    return tokenizer, prove_presplit(spec, tokenizer)


def counted_whole(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    ids = [i for found in tokenizer.encode_batch(list(texts), add_special_tokens=False) for i in found.ids]
    return np.bincount(np.array(ids, np.int64), minlength=1 + max(tokenizer.get_vocab().values())).tolist()


def counted_in_parts(tokenizer: Tokenizer, presplit: Presplit, texts: Sequence[str]) -> list[int]:
    found: list[int] = count_ids(tokenizer, WeightedTexts([pa.array(texts, pa.string())], presplit)).tolist()
    return found


# -- the claim ---------------------------------------------------------------------------------------------------------

_WORDS = [word for text in TEXTS for word in text.split(" ")]
_PART = st.one_of(
    st.sampled_from(_WORDS),
    st.sampled_from([*ODD, *LIVELY]),
    st.text(max_size=4),
    st.tuples(st.sampled_from(_WORDS), st.sampled_from(ODD)).map("".join),
    st.text(WHITE.encode().decode() + " \n\t", min_size=1, max_size=3),
)
_JOIN = st.sampled_from(["", " ", " ", " ", " ", "  ", "\n", " \n"])


@st.composite
def any_text(draw: st.DrawFn) -> str:
    """Words, marks, tokens and blanks of all kinds; most of the joints are single spaces."""
    return "".join(draw(_PART) + draw(_JOIN) for _ in range(draw(st.integers(0, 7)))).removesuffix(" ")


@pytest.mark.parametrize("name", PROVEN)
def test_the_proof_holds_for_the_real_configurations(name: str) -> None:
    _, presplit = proven(name)
    assert presplit.holds, presplit.reason


@pytest.mark.parametrize("name", PROVEN)
@example(texts=["The 0▁", "The The"])
@given(texts=st.lists(any_text(), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_parts_have_the_tokens_of_the_whole(name: str, texts: list[str]) -> None:
    tokenizer, presplit = proven(name)
    assert counted_in_parts(tokenizer, presplit, texts) == counted_whole(tokenizer, texts)


@pytest.mark.parametrize("name", PROVEN)
def test_parts_have_the_tokens_of_the_whole_beside_odd_characters(name: str) -> None:
    tokenizer, presplit = proven(name)
    shapes = (
        "{} the",
        " {} the",
        " the{}",
        "the{} {} the",
        "the {} {}the {}",
        "the{}  the",
        "{} {}",
        "the{}{} {}{} the ",
    )
    for odd in (*ODD, *LIVELY, " ", "  "):
        for text in [shape.replace("{}", odd) for shape in shapes]:
            assert counted_in_parts(tokenizer, presplit, [text]) == counted_whole(tokenizer, [text]), text


@pytest.mark.parametrize("name", PROVEN)
@given(texts=st.lists(st.sampled_from([*TEXTS, "the ferry the ferry", "▁x the  end"]), min_size=1, max_size=40))
@settings(max_examples=20, deadline=None)
def test_words_are_counted_as_often_as_they_stand_in_the_corpus(
    tmp_path_factory: pytest.TempPathFactory, name: str, texts: list[str]
) -> None:
    tokenizer, presplit = proven(name)

    def words(some: Iterable[str]) -> Counter[str]:
        return Counter(
            token for e in tokenizer.encode_batch(list(some), add_special_tokens=False) for token in e.tokens
        )

    splits = ["train"] * (len(texts) - 1) + ["test"]
    corpora = [corpus_of(tmp_path_factory.mktemp("corpus") / "tr.parquet", texts, splits) for _ in range(2)]
    reader = WordReader(tokenizer, presplit)
    assert reader.word_counts(corpora, ["train"], words) == words(texts[:-1] * 2)
    assert reader.word_counts(corpora[:1], ["train", "test"], words) == words(texts)
    assert set(words(reader.distinct_texts(corpora, ["test"]))) - {PROBE} >= set(words(texts[-1:])) - {PROBE}


def corpus_of(path: Path, texts: Sequence[str], splits: Sequence[str]) -> Path:
    columns = {"id": [str(n) for n in range(len(texts))], "text": list(texts), "split": list(splits)}
    table = pa.table([columns.get(name, [None] * len(texts)) for name in CORPUS.names], schema=CORPUS)
    write_table(path, table, Manifest("corpus"))
    return path


@pytest.mark.parametrize("name", PROVEN)
def test_natural_text_is_really_split(name: str) -> None:
    _, presplit = proven(name)
    texts = WeightedTexts([pa.array(TEXTS * 3)], presplit)
    assert len(list(texts)) > 0
    assert (texts.split, texts.whole) == (3 * len(TEXTS), 0)


def test_no_normal_form_ends_a_word_in_white_space() -> None:
    """What makes NFC, NFD, NFKC and NFKD harmless."""
    visible = [c for c in map(chr, range(sys.maxunicode + 1)) if not c.isspace()]
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        for character in visible:
            if (normal := unicodedata.normalize(form, character)) != character:
                assert normal and not normal[-1].isspace(), (form, character)


def test_white_is_what_python_strips() -> None:
    import re

    white = re.compile(f"[{WHITE}]")
    assert all((white.match(c) is not None) == c.isspace() for c in map(chr, range(sys.maxunicode + 1)))


# -- where it must not hold --------------------------------------------------------------------------------------------


def edited(spec: dict[str, Any], **sections: Any) -> dict[str, Any]:
    return spec | sections


def with_added(spec: dict[str, Any], content: str, **flags: bool) -> dict[str, Any]:
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    tokenizer.add_tokens([AddedToken(content, **flags)])
    return as_spec(tokenizer)


SPLIT = {"type": "Split", "pattern": {"String": " "}, "invert": False}
REFUSED: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "a token of two words": (lambda: with_added(bert(), "the old", normalized=False), "contains a space"),
    "a token of two words, normalised": (lambda: with_added(gemma(), "a b", normalized=True), "contains a space"),
    "the probe": (lambda: with_added(bert(), "x"), "depends on the text around"),
    "a single word that begins with a space": (
        lambda: with_added(byte_level(), " <b>", single_word=True, normalized=False),
        "depends on the text around",
    ),
    "swallowing normalised spaces": (lambda: with_added(byte_level(), "<i>", rstrip=True), "swallows"),
    "spaces away": (
        lambda: edited(bert(), normalizer={"type": "Replace", "pattern": {"String": " "}, "content": ""}),
        "does not keep spaces",
    ),
    "any pattern replaced": (
        lambda: edited(bert(), normalizer={"type": "Replace", "pattern": {"Regex": r"e\s*t"}, "content": "&"}),
        "nothing is known",
    ),
    "pieces over spaces": (lambda: edited(xlmr(), pre_tokenizer=None), "no pre-tokenizer"),
    "spaces at the end of pieces": (
        lambda: edited(byte_level(), pre_tokenizer=SPLIT | {"behavior": "MergedWithPrevious"}),
        "Split",
    ),
    "a pattern over spaces": (lambda: byte_level(r"\p{L}+ \p{L}+|\s+|\S+"), "Split"),
    "byte letters without a pattern": (
        lambda: edited(
            byte_level(),
            pre_tokenizer={"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
        ),
        "ByteLevel",
    ),
    "a merge over words": (lambda: with_merges(gemma(), ("e", "▁")), "'e▁' spans a space"),
    "whole pieces looked up": (
        lambda: gemma() | {"model": gemma()["model"] | {"ignore_merges": True}},
        "ignore_merges",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_proof_fails_where_words_may_touch(name: str) -> None:
    make, reason = REFUSED[name]
    spec = make()
    presplit = prove_presplit(spec, Tokenizer.from_str(json.dumps(spec)))
    assert not presplit.holds
    assert reason in presplit.reason


@pytest.mark.parametrize("name", REFUSED)
def test_without_the_proof_whole_texts_are_counted(name: str) -> None:
    spec = REFUSED[name][0]()
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    texts = [*TEXTS, "the old x ferry", "a b c e t", "twice  <i>  "]
    presplit = prove_presplit(spec, tokenizer)
    assert counted_in_parts(tokenizer, presplit, texts) == counted_whole(tokenizer, texts)


# -- patterns ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", [GPT2, QWEN, LLAMA3, O200K, r"\S+|\s+", r"\s+"])
def test_patterns_that_part_words_are_recognised(pattern: str) -> None:
    assert splits_before_spaces(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"\w+ \w+|\s+", r"\S+\s|\s+", r"[^x]+|\s+", r"\w+", r"\b\w+|\s+", r"^\s+|\s+", r".+|\s+", r"(\w+) |\s+",
        r"\w+(?= )|\s+", r"(?<= )\w+|\s+", r"[\w ]+|\s+", r"\P{L}+|\s+", r"[!-~ -/]+|\s+", r"(?s:.)|\s+", r"\w+|[\s]",
    ],
)  # fmt: skip
def test_other_patterns_are_not(pattern: str) -> None:
    assert not splits_before_spaces(pattern)


_ITEMS = st.sampled_from(
    [
        " ",
        "a",
        r"\.",
        r"\s",
        r"\S",
        r"\p{L}",
        r"\p{N}",
        r"[\r\n]",
        r"[^\s\p{L}]",
        r"[^\p{L}]",
        r"[a-c]",
        r"[ a]",
        r"[,-/]",
    ]
)
_SEQUENCES = st.lists(st.tuples(_ITEMS, st.sampled_from(["", "", "?", "*", "+", "{1,2}"])), min_size=1, max_size=4)


@given(
    sequences=st.lists(_SEQUENCES, max_size=3),
    lookahead=st.booleans(),
    texts=st.lists(st.text("ab1.,\n\t ç", max_size=8), min_size=1, max_size=3),
)
@settings(max_examples=400, deadline=None)
def test_a_recognised_pattern_parts_words_in_the_library_too(
    sequences: list[list[tuple[str, str]]], lookahead: bool, texts: list[str]
) -> None:
    choices = ["".join(item + times for item, times in sequence) for sequence in sequences]
    pattern = "|".join([*choices, *([r"\s+(?!\S)"] if lookahead else []), r"\s+"])
    if not splits_before_spaces(pattern):
        return
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    for first in texts:
        for second in texts:
            if first and not first[-1].isspace():
                together = [piece for piece, _ in split.pre_tokenize_str(f"{first} {second}")]
                apart = [piece for part in (first, f" {second}") for piece, _ in split.pre_tokenize_str(part)]
                assert together == apart, pattern
