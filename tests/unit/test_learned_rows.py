"""Rows learned from the teacher's own tokens: pieces without the token itself, the map, and how it joins the clone."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from langtailor.clone import clone as clone_module
from langtailor.clone.alignment import Links
from langtailor.clone.learned import LearnedRows, _features, learn_rows
from langtailor.storage.artifacts import read_manifest
from langtailor.surgery.registry import load_family
from langtailor.surgery.segmentation import segment_without_itself
from tests.unit.surgery_teachers import FAMILIES, write_unigram
from tests.unit.test_cloning import Workshop, choose, make_workshop


@pytest.fixture(scope="module", params=FAMILIES)
def teacher(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return FAMILIES[request.param](tmp_path_factory.mktemp("teacher") / "teacher")


# -- pieces ------------------------------------------------------------------------------------------------------------


def test_a_token_is_made_of_its_pieces_and_never_of_itself(teacher: Path) -> None:
    family = load_family(teacher)
    tokens = [token for token in family.tokens if token]
    prefix = family.spec["model"].get("continuing_subword_prefix") or ""
    found = segment_without_itself(family.spec, tokens)
    assert sum(len(pieces) > 1 for pieces in found) > 100
    for token, pieces in zip(tokens, found, strict=True):
        names = [str(family.tokens[i]) for i in pieces]
        assert token not in names
        joined = "".join(name if not n else name.removeprefix(prefix) for n, name in enumerate(names))
        assert joined in ("", token)


def test_the_parts_of_a_bpe_token_are_those_of_the_merge_that_makes_it_first() -> None:
    model = {"vocab": {"a": 0, "b": 1, "ab": 2, "aba": 3, "ba": 4}, "merges": ["a b", ["b", "a"], "ab a", ["a", "ba"]]}
    assert segment_without_itself({"model": model}, ["ab", "aba", "a"]) == [(0, 1), (2, 0), ()]


def test_the_pieces_of_a_wordpiece_token_are_the_longest_shorter_ones() -> None:
    vocab = {token: i for i, token in enumerate(["evler", "evle", "ev", "##r", "##ler", "##lerde", "##de"])}
    model = {"vocab": vocab, "continuing_subword_prefix": "##"}
    assert segment_without_itself({"model": model}, ["evler", "##lerde", "ev"]) == [(1, 3), (4, 6), ()]


def test_the_pieces_of_a_unigram_token_are_the_most_probable_others() -> None:
    scores = {"evler": -1.0, "ev": -3.0, "ler": -4.0, "evle": -2.0, "r": -6.0, "e": -5.0, "v": -5.0, "le": -1.5}
    ids = {piece: i for i, piece in enumerate(scores)}
    model = {"vocab": list(scores.items())}
    cuts = (cut for cut in itertools.product([False, True], repeat=4) if any(cut))
    ways = [parts for parts in (split("evler", cut) for cut in cuts) if scores.keys() >= set(parts)]
    best = max(ways, key=lambda parts: sum(scores[part] for part in parts))
    assert segment_without_itself({"model": model}, ["evler"]) == [tuple(ids[part] for part in best)]


def split(text: str, cuts: tuple[bool, ...]) -> tuple[str, ...]:
    ends = [n + 1 for n, cut in enumerate(cuts) if cut] + [len(text)]
    return tuple(text[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True))


# -- the map -----------------------------------------------------------------------------------------------------------


def world(folder: Path) -> tuple[Any, Any, torch.Tensor]:
    """A family, a new vocabulary, and a table in which a token's row follows from its first and its last piece."""
    family = load_family(write_unigram(folder / "teacher"))
    layout = choose(folder / "teacher", 0.7)
    table = torch.randn(len(family.tokens), 8, generator=torch.Generator().manual_seed(1))
    first, last = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(2))
    names = [token or "" for token in family.tokens]
    lengths = [len(name) for name in names]
    pieces = segment_without_itself(family.spec, names)
    for i in sorted(range(len(names)), key=lengths.__getitem__):  # pieces are shorter than what they make
        if len(pieces[i]) > 1:
            table[i] = torch.nn.functional.normalize(table[pieces[i][0]] @ first + table[pieces[i][-1]] @ last, dim=0)
    return family, layout, table


def test_a_map_that_the_teachers_rows_follow_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family, layout, table = world(tmp_path)
    monkeypatch.setattr("langtailor.clone.learned._LEAST_CHARACTERS", 2)
    monkeypatch.setattr("langtailor.clone.learned._LEAST_EXAMPLES", 50)
    learned = learn_rows(family, layout, table)
    assert learned is not None
    assert learned.cosine > 0.8 > 0.5 > learned.cosine_of_means
    assert learned.rows.shape == (len(layout.grafts), 8)
    torch.testing.assert_close(learned.rows.norm(dim=1), torch.ones(len(layout.grafts)))
    again = learn_rows(family, layout, table)
    assert again is not None and torch.equal(again.rows, learned.rows)


def test_examples_in_small_blocks_teach_the_same_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family, layout, table = world(tmp_path)
    monkeypatch.setattr("langtailor.clone.learned._LEAST_CHARACTERS", 2)
    monkeypatch.setattr("langtailor.clone.learned._LEAST_EXAMPLES", 50)
    whole = learn_rows(family, layout, table)
    monkeypatch.setattr("langtailor.clone.learned._AT_ONCE", 7)
    parts = learn_rows(family, layout, table)
    assert whole is not None and parts is not None
    torch.testing.assert_close(parts.rows, whole.rows)
    assert parts.examples == whole.examples > 7
    assert (parts.cosine, parts.cosine_of_means) == pytest.approx((whole.cosine, whole.cosine_of_means))


def test_features_are_the_first_and_last_piece_the_mean_and_the_number_of_pieces() -> None:
    table = torch.tensor([[1.0, 2.0], [3.0, 5.0], [7.0, 11.0]], dtype=torch.bfloat16)
    features = _features(table, [(0, 2), (1,), (2, 0, 1, 0, 0, 2, 1)])
    assert features.dtype == torch.float64
    expected = [
        [1, 2, 7, 11, 4, 6.5, 0, 1, 0, 0, 0],
        [3, 5, 3, 5, 3, 5, 1, 0, 0, 0, 0],
        [7, 11, 3, 5, 23 / 7, 38 / 7, 0, 0, 0, 0, 1],
    ]
    torch.testing.assert_close(features, torch.tensor(expected, dtype=torch.float64))


def test_rows_without_a_rule_are_left_to_the_mean(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    family, layout, table = world(tmp_path)
    noise = torch.randn(table.shape, generator=torch.Generator().manual_seed(3))
    with caplog.at_level(logging.WARNING):
        assert learn_rows(family, layout, noise) is None
    assert "the rows stay unchanged" in caplog.text


# -- the clone ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return make_workshop(tmp_path_factory.mktemp("workshop"), "xlmr")


@pytest.mark.parametrize("pairs", [0, 3])
def test_new_rows_get_what_is_learned_and_as_surely_as_pairs_tell_it_what_translates_them(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, pairs: int
) -> None:
    directions = torch.nn.functional.normalize(torch.randn(len(workshop.new), 32), dim=1)
    monkeypatch.setattr(clone_module, "learn_rows", lambda *_: LearnedRows(directions, 123, 0.5, 0.25))
    counts = np.full(len(workshop.layout.tokens), pairs, np.int64)
    nothing = np.zeros(0, np.int32)
    links = Links(nothing, nothing, np.zeros(0, np.float32), counts) if pairs else None
    monkeypatch.setattr(clone_module, "align_corpora", lambda *_, **__: links)
    matched = workshop.table(workshop.clone(f"matched-{pairs}", method="norm-matched"))[workshop.new]
    folder = workshop.clone(f"learned-{pairs}", method="learned")
    found = workshop.table(folder)[workshop.new]
    lengths = matched.norm(dim=1, keepdim=True)
    expected = torch.nn.functional.normalize(directions + pairs / (pairs + 1) * matched / lengths, dim=1) * lengths
    torch.testing.assert_close(found, expected)
    facts = read_manifest(folder, "clone").facts["learned_rows"]
    assert facts == {"examples": 123, "cosine": 0.5, "cosine_of_means": 0.25}


def test_where_nothing_can_be_learned_the_clone_is_that_of_matched_norms(workshop: Workshop) -> None:
    learned = workshop.clone("nothing", method="learned")
    matched = workshop.clone("norms", method="norm-matched")
    assert torch.equal(workshop.table(learned), workshop.table(matched))
    assert "learned_rows" not in read_manifest(learned, "clone").facts
