"""Unigram surgery: what is kept segments as before, SentencePiece agrees, grafts are chosen by the encoder."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer

from langtailor.errors import UnsupportedTokenizerError
from langtailor.models.tokenizer_file import tokenizer_of
from langtailor.surgery.base import Graft, Ids, Layout
from langtailor.surgery.protobuf import read_fields, write_fields
from langtailor.surgery.registry import load_family
from langtailor.surgery.sentencepiece_model import read_pieces, rewrite_sentencepiece
from langtailor.surgery.spelling import BYTE_TOKENS
from langtailor.surgery.unigram import UnigramFamily
from langtailor.surgery.unknowns import needed_to_stay_known
from tests.unit.surgery_teachers import (
    TARGET,
    TEXTS,
    charsmap,
    sentencepiece_model,
    unigram_spec,
    unigram_with_bytes_spec,
    wordpiece_spec,
    write_unigram,
)

ANY_TEXT = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(" ".join(TEXTS).split()), max_size=12).map(" ".join),
    st.lists(
        st.sampled_from(
            [*TEXTS, "👩‍👩‍👧", "e\u0301", "א ב", "\u0000", "x" * 150, "İ", "中", "낡", "ﬁ", "①", "▁", "<mask>"]
        ),
        max_size=4,
    ).map(" ".join),
)
XLMR_FILE = "sentencepiece.bpe.model"


@cache
def model_file(byte_fallback: bool) -> bytes:
    return sentencepiece_model(size=900, byte_fallback=True) if byte_fallback else sentencepiece_model()


@cache
def family(byte_fallback: bool = False) -> UnigramFamily:
    data = model_file(byte_fallback)
    if byte_fallback:
        return UnigramFamily.from_spec(unigram_with_bytes_spec(data), {}, {"tokenizer.model": data})
    return UnigramFamily.from_spec(unigram_spec(data), {}, {XLMR_FILE: data})


@cache
def teacher(byte_fallback: bool = False) -> Tokenizer:
    return tokenizer_of(family(byte_fallback).spec)


def base_ids(byte_fallback: bool = False) -> Ids:
    of = family(byte_fallback)
    return np.union1d(of.special_ids(), of.alphabet_ids()).astype(np.int32)


def some_ids(seed: int, share: float, byte_fallback: bool = False) -> Ids:
    """The mandatory ids and a random share of the others."""
    chosen = np.random.default_rng(seed).random(len(family(byte_fallback).tokens)) < share
    return np.union1d(base_ids(byte_fallback), np.flatnonzero(chosen)).astype(np.int32)


def pruned(kept: Ids, grafts: list[Graft] | None = None, byte_fallback: bool = False) -> Tokenizer:
    of = family(byte_fallback)
    return tokenizer_of(of.write(of.layout(kept, grafts or [], 0)).tokenizer)


def names(tokenizer: Tokenizer, text: str) -> list[str]:
    return [tokenizer.id_to_token(i) for i in tokenizer.encode(text, add_special_tokens=False).ids]


def sentencepiece_names(data: bytes, text: str) -> list[str]:
    processor = SentencePieceProcessor(model_proto=data)
    return [processor.id_to_piece(i) for i in processor.encode(text)]


# -- pruning -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("byte_fallback", [False, True])
@given(text=ANY_TEXT, seed=st.integers(0, 7), share=st.sampled_from([0.0, 0.5, 0.9]))
@settings(max_examples=200, deadline=None)
def test_text_whose_pieces_were_all_kept_is_segmented_as_before(
    byte_fallback: bool, text: str, seed: int, share: float
) -> None:
    """Unknown characters included: <unk> is always kept."""
    kept = some_ids(seed, share, byte_fallback)
    before = teacher(byte_fallback).encode(text, add_special_tokens=False).ids
    if set(before) <= set(kept.tolist()):
        expected = [family(byte_fallback).tokens[i] for i in before]
        assert names(pruned(kept, byte_fallback=byte_fallback), text) == expected


@given(text=ANY_TEXT, seed=st.integers(0, 7))
@settings(max_examples=100, deadline=None)
def test_with_byte_fallback_any_text_decodes_as_before(text: str, seed: int) -> None:
    small = pruned(some_ids(seed, 0.1, True), byte_fallback=True)
    old, new = teacher(True).encode(text).ids, small.encode(text).ids
    assert small.token_to_id("<unk>") not in new
    assert small.decode(new) == teacher(True).decode(old)


@given(text=ANY_TEXT, seed=st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_tokens_needed_to_stay_known_are_enough_for_their_text(text: str, seed: int) -> None:
    kept = some_ids(seed, 0.3)
    needed = needed_to_stay_known(family(), kept, family().words([text]))
    after = pruned(np.union1d(kept, needed).astype(np.int32))
    assert unknown_characters(after, text) <= unknown_characters(teacher(), text)


def unknown_characters(tokenizer: Tokenizer, text: str) -> int:
    found = tokenizer.encode(text, add_special_tokens=False)
    unknown = tokenizer.token_to_id("<unk>")
    return sum(end - start for i, (start, end) in zip(found.ids, found.offsets, strict=True) if i == unknown)


def test_byte_families_need_nothing_to_stay_known() -> None:
    assert len(needed_to_stay_known(family(True), base_ids(True), ["▁木", "▁\U0001f600"])) == 0


def test_the_alphabet_is_bytes_or_else_the_characters_of_small_scripts() -> None:
    alphabet = {family().tokens[i] for i in family().alphabet_ids()}
    assert {"▁", "ı", "ж", "ま", "।"} <= alphabet
    assert not {"木", "낡"} & alphabet
    with_bytes = {family(True).tokens[i] for i in family(True).alphabet_ids()}
    assert {*BYTE_TOKENS, "▁"} <= with_bytes and "ж" not in with_bytes


def tiny(*scores: tuple[str, float]) -> UnigramFamily:
    vocab = [["<unk>", 0.0], ["▁", -5.0], *([token, score] for token, score in scores)]
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    model = {"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": False}
    return UnigramFamily.from_spec(
        {"version": "1.0", "pre_tokenizer": metaspace, "model": model, "added_tokens": []}, {}
    )


def test_the_piece_of_lowest_score_is_kept_because_unknown_characters_are_scored_by_it() -> None:
    """In `xabc`, unknown x and `abc` cost 31, `xa bc` 28; were the lowest piece gone, the former would cost 25."""
    of = tiny(("abc", -1.0), ("xa", -14.0), ("bc", -14.0), ("zz", -20.0))
    assert of.tokens.index("zz") in of.alphabet_ids()
    kept = np.array([0, 1, 2, 3, 4], np.int32)
    assert names(tokenizer_of(of.spec), "xabc") == ["▁", "xa", "bc"]
    assert names(tokenizer_of(of.write(of.layout(kept, [], 0)).tokenizer), "xabc") == ["▁", "<unk>", "abc"]


@given(seed=st.integers(0, 50), text=st.text("abc", min_size=1, max_size=12))
@settings(max_examples=200, deadline=None)
def test_ties_are_broken_as_before(seed: int, text: str) -> None:
    """Equal scores everywhere: many paths tie, and the kept one must win again."""
    pieces = ["a", "b", "c", "ab", "bc", "ca", "abc", "bca", "cab", "aa"]
    of = tiny(*((piece, -float(len(piece))) for piece in pieces), ("lowest", -9.0))
    chosen = np.random.default_rng(seed).random(len(of.tokens)) < 0.7
    kept = np.union1d(np.flatnonzero(chosen), [0, 1, len(of.tokens) - 1]).astype(np.int32)
    before = tokenizer_of(of.spec).encode(text).ids
    if set(before) <= set(kept.tolist()):
        after = names(tokenizer_of(of.write(of.layout(kept, [], 0)).tokenizer), text)
        assert after == [of.tokens[i] for i in before]


# -- files -------------------------------------------------------------------------------------------------------------


def test_grafts_and_padding_come_before_the_mask_and_the_specials_stay_first() -> None:
    layout = family().layout(base_ids(), [Graft("▁yepyeni", 1, score=-9.0)], 2)
    assert layout.tokens[:4] == ("<s>", "<pad>", "</s>", "<unk>")
    assert layout.tokens[-4:] == ("▁yepyeni", "<unused 0>", "<unused 1>", "<mask>")
    spec = family().write(layout).tokenizer
    assert spec["model"]["unk_id"] == 3
    assert spec["model"]["vocab"][-4][1] == -9.0
    assert {entry["content"]: entry["id"] for entry in spec["added_tokens"]}["<mask>"] == len(layout) - 1


def test_the_unknown_id_follows_the_unknown_token() -> None:
    """An id that still lies in the vocabulary would be accepted in silence, and be another token."""
    spec = json.loads(json.dumps(unigram_spec(model_file(False))))
    vocab = spec["model"]["vocab"]
    unknown = vocab.pop(3)
    vocab.insert(len(vocab) - 1, unknown)
    spec["model"]["unk_id"] = len(vocab) - 2
    for entry in spec["added_tokens"]:
        entry["id"] = [token for token, _ in vocab].index(entry["content"])
    of = UnigramFamily.from_spec(spec, {})
    kept = np.union1d(of.special_ids(), of.alphabet_ids()).astype(np.int32)
    new = of.write(of.layout(kept, [], 0)).tokenizer["model"]
    assert new["vocab"][new["unk_id"]][0] == "<unk>"
    assert new["unk_id"] < spec["model"]["unk_id"]


def test_keeping_everything_changes_nothing(tmp_path: Path) -> None:
    folder = write_unigram(tmp_path)
    of = load_family(folder)
    files = of.write(of.layout(np.arange(len(of.tokens), dtype=np.int32), [], 0))
    assert files.tokenizer == of.spec
    assert read_pieces(files.others[XLMR_FILE]) == read_pieces((folder / XLMR_FILE).read_bytes())


@pytest.mark.parametrize("byte_fallback", [False, True])
def test_pruning_twice_is_pruning_once(byte_fallback: bool) -> None:
    of, kept, fewer = family(byte_fallback), some_ids(1, 0.6, byte_fallback), some_ids(1, 0.2, byte_fallback)
    once = of.write(of.layout(kept, [], 0))
    again = UnigramFamily.from_spec(once.tokenizer, {}, once.others)
    fewer = fewer[np.isin(fewer, kept)]
    direct = of.write(of.layout(fewer, [], 0))
    stepwise = again.write(again.layout(np.searchsorted(kept, fewer).astype(np.int32), [], 0))
    assert stepwise == direct


def grafted(byte_fallback: bool) -> Layout:
    of, kept = family(byte_fallback), some_ids(2, 0.4, byte_fallback)
    return of.layout(kept, of.propose_grafts(kept, of.words(TARGET), 60, 2, None), 3)


@pytest.mark.parametrize("byte_fallback", [False, True])
@given(text=ANY_TEXT)
@settings(max_examples=150, deadline=None)
def test_sentencepiece_segments_as_tokenizers_wherever_it_did_for_the_teacher(byte_fallback: bool, text: str) -> None:
    old, new = old_and_new(byte_fallback)
    name = "tokenizer.model" if byte_fallback else XLMR_FILE
    if sentencepiece_names(model_file(byte_fallback), text) == names(old, text):
        assert sentencepiece_names(new_files(byte_fallback).others[name], text) == names(new, text)


@cache
def new_files(byte_fallback: bool) -> Any:
    return family(byte_fallback).write(grafted(byte_fallback))


@cache
def old_and_new(byte_fallback: bool) -> tuple[Tokenizer, Tokenizer]:
    return teacher(byte_fallback), tokenizer_of(new_files(byte_fallback).tokenizer)


def test_sentencepiece_ids_keep_their_distance_to_the_ids_of_tokenizers() -> None:
    layout = grafted(False)
    processor = SentencePieceProcessor(model_proto=new_files(False).others[XLMR_FILE])
    assert [processor.id_to_piece(i) for i in range(3)] == ["<unk>", "<s>", "</s>"]
    for token in layout.tokens[4:-1]:
        assert processor.piece_to_id(token) + 1 == layout.new_id[token]
    assert processor.vocab_size() == len(layout) - 2, "neither <pad> nor <mask> is a piece"


def test_where_the_ids_were_equal_they_stay_equal() -> None:
    layout = grafted(True)
    processor = SentencePieceProcessor(model_proto=new_files(True).others["tokenizer.model"])
    assert [processor.id_to_piece(i) for i in range(processor.vocab_size())] == list(layout.tokens)
    assert processor.is_byte(processor.piece_to_id("<0x41>"))
    assert processor.is_unused(processor.piece_to_id("<unused 0>"))


def test_normalisation_and_training_settings_are_preserved() -> None:
    new = new_files(False).others[XLMR_FILE]
    assert charsmap(new) == charsmap(model_file(False))
    old_trainer, new_trainer = (dict(f[::2] for f in read_fields(trainer(data))) for data in (model_file(False), new))
    assert new_trainer.pop(4) == len(read_pieces(new))
    assert old_trainer.pop(4) == len(read_pieces(model_file(False)))
    # An absent field and one that states the default (<unk> 0, <s> 1, </s> 2) say the same.
    assert {**{40: 0, 41: 1, 42: 2}, **old_trainer} == new_trainer


def trainer(data: bytes) -> bytes:
    found = next(field.value for field in read_fields(data) if field.number == 2)
    assert isinstance(found, bytes)
    return found


def test_a_self_test_of_the_old_segmentation_is_dropped() -> None:
    """SentencePiece refuses a model that fails the samples stored in it."""
    sample = write_fields([(1, 2, b"Eski vapur"), (2, 2, "▁Es ki ▁vapur".encode())])  # type: ignore[list-item]
    tested = model_file(False) + write_fields([(4, 2, write_fields([(1, 2, sample)]))])  # type: ignore[list-item]
    layout = family().layout(base_ids(), [], 0)
    new = rewrite_sentencepiece(tested, layout)
    assert not any(field.number == 4 for field in read_fields(new))
    assert SentencePieceProcessor(model_proto=new).vocab_size() == len(layout) - 2


def test_unigrams_that_cannot_be_cut_safely_are_refused() -> None:
    spec = unigram_spec(model_file(False))
    for change, word in (
        ({"model": {**spec["model"], "unk_id": None}}, "unk_id"),
        ({"model": {**spec["model"], "byte_fallback": True}}, "byte_fallback"),
        ({"pre_tokenizer": None, "normalizer": None}, "spaces"),
    ):
        with pytest.raises(UnsupportedTokenizerError, match=word):
            UnigramFamily.from_spec({**spec, **change}, {})


def test_surfaces_mark_the_start_of_a_word_and_hide_specials_and_bytes() -> None:
    assert family(True).surfaces(["▁ev", "ler", "<0x41>", "<s>"]) == [" ev", "ler", None, None]


def test_words_are_normalised_and_marked() -> None:
    found = family().words(["Eski ﬁl  eski<mask> ev"])
    assert found == Counter({"▁Eski": 1, "▁fil": 1, "▁eski": 1, "<mask>": 1, "▁ev": 1})


# -- grafts ------------------------------------------------------------------------------------------------------------


DONORS = {
    "trained": None,
    "unigram": unigram_spec(sentencepiece_model(texts=TARGET, size=300)),
    "wordpiece": json.loads(wordpiece_spec(False, 900, TARGET)),
}


@cache
def proposed(donor: str = "trained", limit: int = 80, min_count: int = 2) -> tuple[Graft, ...]:
    words = family().words(TARGET)
    return tuple(family().propose_grafts(some_ids(3, 0.5), words, limit, min_count, DONORS[donor]))


@pytest.mark.parametrize("donor", DONORS)
def test_grafts_are_used_as_often_as_they_say(donor: str) -> None:
    grafts = list(proposed(donor))
    tokenizer = pruned(some_ids(3, 0.5), grafts)
    uses = Counter(name for text in TARGET for name in names(tokenizer, text))
    assert len(grafts) > 15
    assert {graft.token: graft.count for graft in grafts} == {graft.token: uses[graft.token] for graft in grafts}
    assert min(graft.count for graft in grafts) >= 2


@pytest.mark.parametrize("donor", DONORS)
def test_every_prefix_of_the_grafts_leaves_everything_reachable(donor: str) -> None:
    grafts, kept = list(proposed(donor)), some_ids(3, 0.5)
    lengths = []
    for size in range(0, len(grafts) + 1, 10):
        assert family().unreachable(family().layout(kept, grafts[:size], 0)) == []
        tokenizer = pruned(kept, grafts[:size])
        lengths.append(sum(len(names(tokenizer, text)) for text in TARGET))
    assert lengths[-1] < 0.75 * lengths[0]


def test_scores_are_float32_numbers_between_the_teachers() -> None:
    scores = [score for token, score in family().spec["model"]["vocab"]]
    for graft in proposed():
        assert graft.score is not None
        assert min(scores) <= graft.score < 0
        assert float(np.float32(graft.score)) == graft.score


def test_no_graft_scores_below_the_teachers_lowest() -> None:
    """A lower score would lower that of unknown characters, too."""
    of = tiny(("a", -1.0), ("b", -1.2), ("c", -1.4))
    words = {f"▁{a}{b}{c}{d}": 3 for a, b, c, d in product("abc", repeat=4)} | {"▁a": 100_000}
    grafts = of.propose_grafts(np.arange(len(of.tokens), dtype=np.int32), words, 60, 2, None)
    assert min(graft.score or 0.0 for graft in grafts) == -5.0


def test_a_graft_that_would_hide_a_kept_piece_is_not_proposed() -> None:
    """With `bc` grafted at a high score, `abc` would be cut into `a bc` and never be emitted again."""
    of = tiny(("a", -2.0), ("b", -5.0), ("c", -5.0), ("d", -2.0), ("abc", -9.0), ("lowest", -30.0))
    ids = np.arange(len(of.tokens), dtype=np.int32)
    assert of.unreachable(of.layout(ids, [Graft("bc", 9, score=-2.5)], 0)) == ["abc"]
    words = {f"▁{first}{second}bc": 50 for first, second in product("ad", repeat=2)}
    for donor in (None, unigram_spec(sentencepiece_model(texts=tuple(f"bc {word[1:]}" for word in words), size=12))):
        grafts = of.propose_grafts(ids, words, 20, 2, donor)
        assert grafts
        assert of.unreachable(of.layout(ids, grafts, 0)) == []


def test_a_graft_that_is_never_chosen_is_told() -> None:
    layout = family().layout(some_ids(3, 0.5), [Graft("▁Eskiler", 1, score=-90.0)], 0)
    assert family().unreachable(layout) == ["▁Eskiler"]


def test_limit_and_least_count_are_kept() -> None:
    assert len(proposed(limit=7)) == 7
    frequent = proposed(min_count=5)
    assert frequent and min(graft.count for graft in frequent) >= 5
    assert proposed(limit=0) == ()
    assert family().propose_grafts(base_ids(), {}, 5, 1, None) == []


def test_proposals_are_the_same_each_time() -> None:
    kept, words = some_ids(3, 0.5), family().words(TARGET)
    assert family().propose_grafts(kept, words, 80, 2, None) == list(proposed())


@pytest.mark.parametrize(
    "words", [{}, {"▁": 5}, {"▁" + "a" * 5_000: 2}, {"a\tb": 2}, {"▁<mask>": 3}, {"▁\U0010fffd": 9}]
)
def test_words_without_anything_to_learn_from_give_few_or_no_grafts(words: dict[str, int]) -> None:
    grafts = family().propose_grafts(base_ids(), words, 50, 1, None)
    assert len(grafts) <= 2
    assert family().unreachable(family().layout(base_ids(), grafts, 0)) == []
