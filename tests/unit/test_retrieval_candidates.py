"""What queries and documents are told from: the search against a brute-force one, and the training that ranks them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from langtailor.config.distillation import DistillationSettings
from langtailor.config.retrieval import RetrievalObjective, RetrievalSettings
from langtailor.config.teacher import TeacherSettings
from langtailor.distillation.candidates import Candidates
from langtailor.distillation.data import CandidateFile, load_data
from langtailor.distillation.targets import targets_of
from langtailor.distillation.tokens import tokenize_corpora
from langtailor.distillation.train import distil
from langtailor.errors import ArtifactError, ConfigError
from langtailor.models.nearest import nearest
from langtailor.models.similarity import COSINE, unit
from langtailor.retrieval import candidates as mining
from langtailor.retrieval.candidates import ranked
from langtailor.storage.artifacts import Manifest, read_manifest, seal_directory
from langtailor.storage.tables import CANDIDATES, write_table
from langtailor.vectors.store import VectorStore
from tests.models import make_tiny_bert_teacher
from tests.unit.distillation_world import World, make_world


def by_brute_force(vectors, others, right, named, depth, most_similar) -> list[list[int]]:
    lists = []
    for row, vector in enumerate(vectors):
        cosines = others @ vector
        best = max(right[row], key=lambda other: (cosines[other], -list(right[row]).index(other)), default=-1)
        bound = np.inf if best == -1 else cosines[best] - (1 - most_similar) * abs(cosines[best])
        wrong = [other for other in named[row] if other not in right[row]]
        free = [o for o in range(len(others)) if o not in right[row] and o not in named[row] and cosines[o] <= bound]
        nearest = sorted(free, key=lambda other: (-cosines[other], other))[: depth - 1]
        lists.append([best, *[*wrong, *nearest][: depth - 1]])
    return lists


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.sampled_from([0.5, 0.9]))
def test_the_search_in_blocks_finds_what_brute_force_finds(seed, depth, most_similar):
    draw = np.random.default_rng(seed)
    vectors, others = (unit(draw.normal(size=(count, 4)).astype(np.float32)) for count in (7, 23))
    others[5] = others[11]  # equal ones, whose order is that of their rows
    right = [draw.choice(23, draw.integers(0, 3), replace=False).tolist() for _ in vectors]
    named = [draw.choice(23, draw.integers(0, 2), replace=False).tolist() for _ in vectors]
    expected = by_brute_force(vectors, others, right, named, depth, most_similar)
    assert ranked(vectors, others, right, named, depth, most_similar) == expected


@pytest.mark.parametrize("others_at_once", [1, 3, 100])
def test_blocks_change_nothing(monkeypatch, others_at_once):
    draw = np.random.default_rng(3)
    vectors, others = (unit(draw.normal(size=(count, 4)).astype(np.float32)) for count in (9, 31))
    right = [[row] for row in range(9)]
    whole = ranked(vectors, others, right, [[]] * 9, 5, 0.95)
    monkeypatch.setattr("langtailor.models.nearest._KEYS_AT_ONCE", others_at_once)
    monkeypatch.setattr(mining, "QUERIES_AT_ONCE", 2)
    assert ranked(vectors, others, right, [[]] * 9, 5, 0.95) == whole


@pytest.mark.parametrize("depth", [2, 4, 9])
def test_vectors_that_are_no_numbers_come_last_in_the_order_of_their_rows(depth):
    keys = np.array([[np.nan, 0], [0, 1], [1, 0], [np.nan, np.nan], [0, 1]], np.float32)
    rows, similarities = nearest(np.array([[0, 1]], np.float32), keys, depth, COSINE)
    assert rows.tolist() == [[1, 4, 2, 0, 3][:depth]]
    assert not np.isnan(similarities).any()


def test_one_that_may_be_right_too_is_no_candidate():
    query = np.array([[1.0, 0.0]], np.float32)
    angles = np.radians([60, 62, 58, 0])  # cosines of 0.5, 0.469, 0.53 and 1
    documents = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert ranked(query, documents, [[0]], [[]], 4, 0.95) == [[0, 1]]
    assert ranked(query, documents, [[0]], [[3]], 4, 0.95) == [[0, 3, 1]], "those that the source calls wrong stay"
    assert ranked(query, documents, [[]], [[]], 3, 0.95) == [[-1, 3, 2]], "without a right one nothing is too similar"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(
        tmp_path_factory.mktemp("world"), make_tiny_bert_teacher, languages=("tr-documents", "tr-queries")
    )


def write_candidates(world: World, lang: str, width: int = 4) -> CandidateFile:
    """Some candidates of every passage of the other side."""
    store = VectorStore.open(world.vectors[lang])
    ids = [name for shard in store.shards for name in shard.ids.to_pylist()]
    splits = [split for shard in store.shards for split in shard.splits.to_pylist()]
    lists = [[row, *((row + step) % len(ids) for step in range(1, 1 + row % width))] for row in range(len(ids))]
    path = world.root / "candidates" / f"{lang}.parquet"
    write_table(path, pa.table([ids, splits, lists], schema=CANDIDATES), Manifest("candidates"))
    other = {"tr-documents": "tr-queries", "tr-queries": "tr-documents"}
    return CandidateFile(path, among=other[lang])


@pytest.fixture(scope="module")
def candidates(world) -> dict[str, CandidateFile]:
    return {lang: write_candidates(world, lang) for lang in world.languages}


def test_a_passage_gets_the_vectors_of_its_candidates_on_the_other_side(world, candidates):
    settings = RetrievalSettings(max_length=24)
    data = load_data(world.clone, world.tokens, world.vectors, settings, candidates)
    rows = np.array([3, 60 + 7])  # of documents, which come first, and of queries
    targets = targets_of(data.train, rows, torch.device("cpu"))
    other = {lang: VectorStore.open(world.vectors[lang]) for lang in world.languages}
    assert targets.candidates.shape == (2, 4, data.train.dimension)
    assert targets.present.tolist() == [[True] * 4, [True] * 4]
    assert np.array_equal(targets.candidates[0].numpy(), other["tr-queries"].take(np.array([3, 4, 5, 6])))
    assert np.array_equal(targets.candidates[1].numpy(), other["tr-documents"].take(np.array([7, 8, 9, 10])))
    shorter = targets_of(data.train, np.array([4]), torch.device("cpu"))
    assert shorter.present.tolist() == [[True, False, False, False]]
    assert not shorter.candidates[0, 1:].any()


def test_held_out_passages_have_theirs_too(world, candidates):
    lists = Candidates.read(candidates["tr-queries"].path, "validation", world.vectors["tr-documents"])
    assert lists.rows[:, 0].tolist() == list(range(60, 80)), "rows count through both splits"


@pytest.mark.parametrize("objective", [{"listwise": 1.0}, {"answer": 0.1}], ids=["listwise", "answer"])
def test_training_brings_the_ranking_nearer_to_the_teachers(world, candidates, tmp_path, objective):
    training = retrieval_training(world, candidates, tmp_path / "student", objective)
    distil(training, "cpu")
    facts = read_manifest(training.out, "distilled").facts
    assert facts["after"]["loss"] < 0.9 * facts["before"]["loss"]
    assert facts["after"]["languages"].keys() == {"tr-documents", "tr-queries"}
    distil(replace(training, out=tmp_path / "again", checkpoints=tmp_path / "other"), "cpu")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (training.out / "model.safetensors").read_bytes()


def test_a_trained_model_is_trained_on(world, candidates, tmp_path):
    first = world.distil(tmp_path / "first", epochs=1)
    training = replace(retrieval_training(world, candidates, tmp_path / "second", {}), clone=first)
    distil(training, "cpu")
    before = read_manifest(first, "distilled").facts["after"]["cosine"]
    assert read_manifest(training.out, "distilled").facts["before"]["cosine"] == pytest.approx(before, abs=1e-5)


def retrieval_training(world, candidates, out, objective):
    settings = RetrievalSettings(
        objective=RetrievalObjective(**objective),
        epochs=4,
        batch_size=8,
        learning_rate=1e-3,
        embedding_learning_rate=1e-2,
        validate_every=10,
        max_length=24,
    )
    return replace(world.training(out), settings=settings, candidates=candidates)


def test_candidates_that_are_not_there_are_an_error(world, tmp_path):
    path = tmp_path / "candidates.parquet"
    write_table(path, pa.table([["x"], ["train"], [[99_999]]], schema=CANDIDATES), Manifest("candidates"))
    with pytest.raises(ArtifactError, match=r"names row 99999, but there are 84 vectors"):
        Candidates.read(path, "train", world.vectors["tr-documents"])


def test_candidates_of_other_passages_are_an_error(world, candidates, tmp_path):
    path = tmp_path / "candidates.parquet"
    write_table(path, pa.table([["x"], ["train"], [[0]]], schema=CANDIDATES), Manifest("candidates"))
    wrong = {**candidates, "tr-queries": CandidateFile(path, "tr-documents")}
    with pytest.raises(ArtifactError, match="has other passages of tr-queries than the tokens"):
        load_data(world.clone, world.tokens, world.vectors, RetrievalSettings(max_length=24), wrong)


def test_distillation_has_no_candidates_to_rank():
    with pytest.raises(ValueError, match="it ranks candidates, which only `retrieval` has"):
        DistillationSettings(objective={"listwise": 1.0})


@pytest.mark.parametrize("pools_prompt", [True, False])
def test_prompts_of_different_lengths_matter_where_the_pooling_leaves_them_out(
    world, candidates, tmp_path, pools_prompt
):
    root = Path(shutil.copytree(world.root, tmp_path / "world"))
    other = World(root, world.languages)
    pooling = next(other.clone.glob("*Pooling/config.json"))
    pooling.write_text(json.dumps({**json.loads(pooling.read_text()), "include_prompt": pools_prompt}))
    seal_directory(other.clone, Manifest("clone"))
    for lang, prompt in (("tr-queries", "the red bird "), ("tr-documents", "old ")):
        corpus = root / "corpus" / f"{lang}.parquet"
        tokenize_corpora(
            {lang: corpus}, other.clone, TeacherSettings(model="tiny", prompt=prompt), 24, {lang: other.tokens[lang]}
        )
    settings = RetrievalSettings(max_length=24)
    if pools_prompt:
        assert load_data(other.clone, other.tokens, other.vectors, settings, candidates).prompt_length is None
    else:
        with pytest.raises(ConfigError, match="have different numbers of tokens"):
            load_data(other.clone, other.tokens, other.vectors, settings, candidates)
