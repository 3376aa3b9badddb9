"""WordPiece surgery: what is kept segments as before, nothing becomes unknown, grafts are used."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from langtailor.errors import UnsupportedTokenizerError
from langtailor.models.tokenizer_file import tokenizer_of
from langtailor.surgery.base import Graft, Ids
from langtailor.surgery.registry import load_family
from langtailor.surgery.unknowns import needed_to_stay_known
from langtailor.surgery.wordpiece import WordPieceFamily
from tests.unit.surgery_teachers import (
    TARGET,
    TEXTS,
    byte_level_spec,
    sentencepiece_model,
    unigram_spec,
    wordpiece_spec,
    write_wordpiece,
)

ANY_TEXT = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(" ".join(TEXTS).split()), max_size=12).map(" ".join),
    st.lists(
        st.sampled_from([*TEXTS, "👩‍👩‍👧", "e\u0301", "א ב", "\u0000", "x" * 150, "İ", "中", "낡"]), max_size=4
    ).map(" ".join),
)


def family(lowercase: bool = True, **model: Any) -> WordPieceFamily:
    spec = json.loads(wordpiece_spec(lowercase))
    spec["model"] |= model
    return WordPieceFamily.from_spec(spec, {})


FAMILY = family()
TEACHER = tokenizer_of(FAMILY.spec)


def base_ids(of: WordPieceFamily = FAMILY) -> Ids:
    return np.union1d(of.special_ids(), of.alphabet_ids()).astype(np.int32)


def some_ids(seed: int, share: float, of: WordPieceFamily = FAMILY) -> Ids:
    """The mandatory ids and a random share of the others."""
    chosen = np.random.default_rng(seed).random(len(of.tokens)) < share
    return np.union1d(base_ids(of), np.flatnonzero(chosen)).astype(np.int32)


def pruned(kept: Ids, grafts: list[Graft] | None = None, of: WordPieceFamily = FAMILY) -> Tokenizer:
    return tokenizer_of(of.write(of.layout(kept, grafts or [], 0)).tokenizer)


def names(tokenizer: Tokenizer, text: str) -> list[str]:
    return [tokenizer.id_to_token(i) for i in tokenizer.encode(text, add_special_tokens=False).ids]


# -- pruning -----------------------------------------------------------------------------------------------------------


@given(text=ANY_TEXT, seed=st.integers(0, 7), share=st.sampled_from([0.0, 0.5, 0.9]))
@settings(max_examples=300, deadline=None)
def test_text_whose_tokens_were_all_kept_is_segmented_as_before(text: str, seed: int, share: float) -> None:
    kept = some_ids(seed, share)
    before = TEACHER.encode(text, add_special_tokens=False).ids
    after = names(pruned(kept), text)
    if set(before) <= set(kept.tolist()) and TEACHER.token_to_id("[UNK]") not in before:
        assert after == [FAMILY.tokens[i] for i in before]


@given(text=ANY_TEXT)
@settings(max_examples=200, deadline=None)
def test_the_smallest_vocabulary_still_writes_all_but_the_large_scripts(text: str) -> None:
    small = "".join(c for c in text if not "\u2e80" <= c <= "\ud7ff")
    before, after = names(TEACHER, small), names(pruned(base_ids()), small)
    assert after.count("[UNK]") <= before.count("[UNK]")


@given(text=ANY_TEXT, seed=st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_tokens_needed_to_stay_known_are_enough_for_their_text(text: str, seed: int) -> None:
    kept = some_ids(seed, 0.3)
    needed = needed_to_stay_known(FAMILY, kept, FAMILY.words([text]))
    assert not set(needed.tolist()) & set(kept.tolist())
    after = pruned(np.union1d(kept, needed).astype(np.int32))
    assert names(after, text).count("[UNK]") <= names(TEACHER, text).count("[UNK]")


def test_an_ideograph_of_the_text_is_needed_to_stay_known() -> None:
    needed = needed_to_stay_known(FAMILY, base_ids(), FAMILY.words(["the 木 tree"]))
    assert [FAMILY.tokens[i] for i in needed] == ["木"]


def test_a_dead_end_of_the_teacher_may_become_known() -> None:
    """Greedy choice takes `ab`, is stuck before `c`, and gives up the word; without `ab` it finds `a ##bc`."""
    vocab = {token: i for i, token in enumerate(("[UNK]", "a", "ab", "##bc"))}
    plain = {"post_processor": None, "padding": None, "truncation": None, "added_tokens": []}
    of = WordPieceFamily.from_spec({**FAMILY.spec, **plain, "model": {**FAMILY.spec["model"], "vocab": vocab}}, {})
    assert names(tokenizer_of(of.spec), "abc") == ["[UNK]"]
    assert names(pruned(np.array([0, 1, 3], np.int32), of=of), "abc") == ["a", "##bc"]


def test_the_alphabet_is_every_reachable_character_of_the_small_scripts_in_both_forms() -> None:
    alphabet = {FAMILY.tokens[i] for i in FAMILY.alphabet_ids()}
    assert {"ı", "##ı", "ж", "##ж", "ま", "।"} <= alphabet
    assert "##." not in alphabet and "." in alphabet, "punctuation is a word of its own"
    assert not {"木", "##木", "낡"} & alphabet
    assert all(len(str(token).removeprefix("##")) == 1 for token in alphabet)


def test_keeping_everything_changes_nothing(tmp_path: Path) -> None:
    folder = write_wordpiece(tmp_path)
    of = load_family(folder)
    files = of.write(of.layout(np.arange(len(of.tokens), dtype=np.int32), [], 0))
    assert files.tokenizer == of.spec
    assert files.others["vocab.txt"] == (folder / "vocab.txt").read_bytes()


def test_pruning_twice_is_pruning_once() -> None:
    kept = some_ids(1, 0.5)
    once = FAMILY.write(FAMILY.layout(kept, [], 0)).tokenizer
    again = WordPieceFamily.from_spec(once, {})
    assert again.write(again.layout(np.arange(len(kept), dtype=np.int32), [], 0)).tokenizer == once
    fewer = some_ids(1, 0.2)
    fewer = fewer[np.isin(fewer, kept)]
    direct = FAMILY.write(FAMILY.layout(fewer, [], 0)).tokenizer
    stepwise = again.write(again.layout(np.searchsorted(kept, fewer).astype(np.int32), [], 0)).tokenizer
    assert stepwise == direct


def test_slots_are_placeholders_and_not_special() -> None:
    assert [FAMILY.tokens[i] for i in FAMILY.placeholder_ids()] == [f"[unused{i}]" for i in range(5)]
    assert {FAMILY.tokens[i] for i in FAMILY.special_ids()} == {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}


def test_a_slot_that_the_config_names_is_special() -> None:
    named = WordPieceFamily.from_spec(FAMILY.spec, {"additional_special_tokens": ["[unused3]"]})
    assert "[unused3]" in {named.tokens[i] for i in named.special_ids()}
    assert "[unused3]" not in {named.tokens[i] for i in named.placeholder_ids()}


@given(text=ANY_TEXT)
@settings(max_examples=100, deadline=None)
def test_padding_is_never_emitted(text: str) -> None:
    layout = FAMILY.layout(base_ids(), [], 20)
    tokenizer = tokenizer_of(FAMILY.write(layout).tokenizer)
    assert len(layout.padding) == 20
    assert not set(names(tokenizer, f"{text} {' '.join(layout.padding)}")) & layout.padding


def test_unsorted_or_repeated_ids_and_known_grafts_are_refused() -> None:
    with pytest.raises(ValueError, match="sorted"):
        FAMILY.layout(np.array([3, 2], np.int32), [], 0)
    with pytest.raises(ValueError, match="not among"):
        FAMILY.layout(base_ids(), [Graft("ı", 1)], 0)


def test_wordpiece_without_a_prefix_or_unknown_token_is_refused() -> None:
    for broken in ({"continuing_subword_prefix": ""}, {"unk_token": "<none>"}):
        with pytest.raises(UnsupportedTokenizerError, match=next(iter(broken)).removesuffix("_token")):
            family(**broken)


def test_surfaces_mark_the_start_of_a_word_and_hide_specials() -> None:
    assert FAMILY.surfaces(["bridge", "##lar", "[CLS]", "[unused1]"]) == [" bridge", "lar", None, None]


# -- words -------------------------------------------------------------------------------------------------------------


def test_words_are_normalised_and_added_tokens_stand_alone() -> None:
    assert FAMILY.words(["Köprü, köprü [MASK]木x"]) == Counter({"kopru": 2, ",": 1, "[MASK]": 1, "木": 1, "x": 1})


def test_a_dotted_capital_i_keeps_its_dot_where_accents_stay() -> None:
    """The lowercaser maps İ to i and U+0307: two characters, of which grafts are made as they are."""
    spec = json.loads(wordpiece_spec())
    spec["normalizer"]["strip_accents"] = False
    of = WordPieceFamily.from_spec(spec, {})
    words = of.words(["İğde İğde ığde"])
    assert words == Counter({"i\u0307ğde": 2, "ığde": 1})
    kept = base_ids(of)
    grafts = of.propose_grafts(kept, words, 10, 2, None)
    assert "i\u0307ğde" in {graft.token for graft in grafts}
    assert names(pruned(kept, grafts, of), "İğde") == ["i\u0307ğde"]


# -- reachability ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_no_kept_token_becomes_unreachable(share: float) -> None:
    kept = some_ids(0, share)
    grafts = FAMILY.propose_grafts(kept, FAMILY.words(TARGET), 60, 2, None)
    assert FAMILY.unreachable(FAMILY.layout(kept, grafts, 3)) == []


def test_a_graft_that_no_text_reaches_is_told() -> None:
    layout = FAMILY.layout(base_ids(), [Graft("Upper", 1), Graft("##l.l", 1), Graft("fine", 1)], 0)
    assert set(FAMILY.unreachable(layout)) == {"Upper", "##l.l"}


# -- grafts ------------------------------------------------------------------------------------------------------------


def proposed(limit: int = 80, min_count: int = 2, donor: dict[str, Any] | None = None) -> list[Graft]:
    return FAMILY.propose_grafts(base_ids(), FAMILY.words(TARGET), limit, min_count, donor)


DONORS = {
    "trained": None,
    "wordpiece": json.loads(wordpiece_spec(False, 900, TARGET)),
    "unigram": unigram_spec(sentencepiece_model(texts=TARGET, size=300)),
}


@pytest.mark.parametrize("donor", DONORS)
def test_grafts_are_used_as_often_as_they_say(donor: str) -> None:
    grafts = proposed(donor=DONORS[donor])
    tokenizer = pruned(base_ids(), grafts)
    uses = Counter(name for text in TARGET for name in names(tokenizer, text))
    assert len(grafts) > 20
    assert {graft.token: graft.count for graft in grafts} == {graft.token: uses[graft.token] for graft in grafts}
    assert min(graft.count for graft in grafts) >= 2


@pytest.mark.parametrize("donor", DONORS)
def test_every_prefix_of_the_grafts_is_reachable_and_never_longer(donor: str) -> None:
    grafts = proposed(donor=DONORS[donor])
    lengths = []
    for size in range(0, len(grafts) + 1, 10):
        assert FAMILY.unreachable(FAMILY.layout(base_ids(), grafts[:size], 0)) == []
        tokenizer = pruned(base_ids(), grafts[:size])
        lengths.append(sum(len(names(tokenizer, text)) for text in TARGET))
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] < 0.6 * lengths[0]


def test_limit_and_least_count_are_kept() -> None:
    assert len(proposed(limit=7)) == 7
    frequent = proposed(min_count=5)
    assert frequent and min(graft.count for graft in frequent) >= 5
    assert proposed(limit=0) == []
    assert FAMILY.propose_grafts(base_ids(), {}, 5, 1, None) == []


def test_both_forms_come_only_where_the_text_uses_both() -> None:
    grafts = {
        graft.token for graft in FAMILY.propose_grafts(base_ids(), {"evler": 5, "gemiler": 5, "zilnok": 9}, 50, 2, None)
    }
    assert "zilnok" in grafts
    assert not any(token.startswith("##") and "zil" in token for token in grafts)


def test_proposals_are_the_same_each_time() -> None:
    assert proposed() == proposed()


def test_unknown_characters_of_the_target_become_tokens() -> None:
    text = "ʘa ʘa aʘ aʘ"
    assert "[UNK]" in names(TEACHER, text)
    grafts = FAMILY.propose_grafts(base_ids(), FAMILY.words([text]), 50, 1, None)
    assert "[UNK]" not in names(pruned(base_ids(), grafts), text)


def test_words_that_stay_unknown_for_their_length_give_no_grafts() -> None:
    assert FAMILY.propose_grafts(base_ids(), {"q" * 101: 50}, 10, 1, None) == []


def test_a_graft_may_take_the_name_of_a_dropped_token() -> None:
    kept = base_ids()
    dropped = next(t for i, t in enumerate(FAMILY.tokens) if t and t.isalpha() and len(t) > 3 and i not in kept)
    layout = FAMILY.layout(kept, FAMILY.propose_grafts(kept, {dropped: 5}, 5, 2, None), 0)
    assert layout.teacher_ids[layout.new_id[dropped]] == -1


def test_proposals_do_not_depend_on_how_the_trainer_met_the_words() -> None:
    """Many merges tie here, and the trainer would break ties by the order of its hash map."""
    draw = np.random.default_rng(0)
    words = {"".join(draw.choice(list("abcdefgh"), 6)): 2 for _ in range(1_500)}
    one, two, three = (FAMILY.propose_grafts(base_ids(), words, 150, 2, None) for _ in range(3))
    assert one == two == three


def test_what_saves_most_comes_first() -> None:
    grafts = [graft.token for graft in FAMILY.propose_grafts(base_ids(), {"zilnokta": 4, "qo": 6}, 9, 2, None)]
    assert grafts[0] == "zilnokta", "7 tokens saved 4 times"
    assert "qo" in grafts, "1 token saved 6 times"


def test_a_donor_that_marks_spaces_gives_first_pieces() -> None:
    donor = json.loads(byte_level_spec(texts=tuple(f"ve {text}" for text in TARGET)))
    assert "Ġdeniz" in donor["model"]["vocab"]
    assert "deniz" in {graft.token for graft in FAMILY.propose_grafts(base_ids(), {"deniz": 9}, 9, 2, donor)}
