"""Figures of the corpus tasks on texts so short that a person can count their tokens."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from sentence_transformers import SentenceTransformer

from langtailor.config.teacher import TeacherSettings
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.ranking import ranking_figures
from langtailor.evaluation.task import Inputs
from langtailor.evaluation.tasks.agreement import AgreementTask
from langtailor.evaluation.tasks.bitext import translations_found
from langtailor.evaluation.tasks.fertility import FertilityTask
from langtailor.evaluation.tasks.speed import SpeedTask
from langtailor.models.nearest import nearest_rows
from langtailor.models.similarity import COSINE, unit
from langtailor.storage.artifacts import Manifest, directory_digest, seal_directory
from langtailor.storage.tables import CORPUS, write_table
from langtailor.vectors.store import text_digest, write_shard
from tests.unit.test_graft_by_hand import make_teacher

#: Read as ab ##c ##d | cd, and d ##a ##b; of German a | b | c.
TEXTS = {"tr": ["abcd cd", "dab"], "de": ["a b c", "cd"]}


def write_corpus(path, lang, texts):
    columns = [[f"{lang}{i}#0" for i in range(len(texts))], [lang] * len(texts), texts, ["test"] * len(texts)]
    facts = {"passages": {"train": 0, "validation": 0, "test": len(texts)}}
    table = pa.table([*columns, pa.nulls(len(texts), pa.string())], schema=CORPUS)
    write_table(path, table, Manifest("corpus", facts=facts))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hand")
    make_teacher(folder / "teacher")
    seal_directory(folder / "teacher", Manifest("teacher"))
    for lang, texts in TEXTS.items():
        write_corpus(folder / f"{lang}.parquet", lang, texts)
    return folder


@pytest.fixture(scope="module")
def evaluator(root):
    return Evaluator(root / "teacher", TeacherSettings(model="tiny"), resamples=10, seed=1, device="cpu")


def corpora(root):
    return {lang: root / f"{lang}.parquet" for lang in TEXTS}


def test_fertility_is_tokens_over_words_and_characters_over_tokens(root, evaluator):
    """Turkish: 7 tokens, 3 words, 10 characters. German: 4 tokens, 4 words, 7 characters."""
    scores = FertilityTask(kind="fertility").evaluate(evaluator, Inputs(corpora(root))).scores
    found = [(score.group, score.metric, score.value, score.n) for score in scores]
    assert found == [
        ("tr", "tokens per word", round(7 / 3, 4), 2),
        ("tr", "characters per token", round(10 / 7, 4), 2),
        ("de", "tokens per word", 1.0, 2),
        ("de", "characters per token", 1.75, 2),
    ]


def stored_vectors(root, teacher, read=TEXTS):
    """Shards with one vector that points the other way: Turkish 1 and -1, German 1 and 3."""
    vectors = {}
    for lang, texts in TEXTS.items():
        stored = SentenceTransformer(str(root / "teacher"), device="cpu").encode(texts)
        stored[1] *= {"tr": -1, "de": 3}[lang]
        ids = pa.array([f"{lang}{i}#0" for i in range(2)])
        digests = pa.array([text_digest(text) for text in read[lang]], pa.binary(16))
        path = root / f"{lang}.arrow"
        manifest = Manifest("vectors", {"reads": "text", "prompt": ""}, {"teacher": teacher})
        write_shard(path, ids, pa.array(["test", "test"]), digests, stored.astype("float16"), manifest)
        vectors[lang] = [path]
    return vectors


def test_the_teacher_agrees_with_what_it_has_read_itself_without_reading_it_again(root):
    """Of Turkish it has read another first text, so that this one is encoded: the second is not compared with -1."""
    read = {**TEXTS, "tr": ["another", TEXTS["tr"][1]]}
    vectors = stored_vectors(root, directory_digest(root / "teacher"), read)
    evaluator = Evaluator(root / "teacher", TeacherSettings(model="tiny"), resamples=10, seed=1, device="cpu")
    task, de = AgreementTask(kind="agreement"), {"de": root / "de.parquet"}
    assert task.evaluate(evaluator, Inputs(de, vectors)).items["de"] == pytest.approx((1, 1), abs=1e-6)
    assert "model" not in vars(evaluator), "nothing was loaded"
    assert task.evaluate(evaluator, Inputs(corpora(root), vectors)).items["tr"] == pytest.approx((1, 1), abs=1e-3)
    assert "model" in vars(evaluator)


def test_agreement_is_the_mean_cosine_to_the_stored_vectors(root, evaluator):
    """One of the stored vectors points the other way: Turkish 1 and -1, German 1 and 1."""
    vectors = stored_vectors(root, "another teacher")
    result = AgreementTask(kind="agreement").evaluate(evaluator, Inputs(corpora(root), vectors))
    scores, items = result.scores, result.items
    cosines = {score.group: score.value for score in scores if score.metric == "cosine"}
    assert cosines == pytest.approx({"all": 0.5, "tr": 0.0, "de": 1.0}, abs=1e-3)
    assert items["tr"] == pytest.approx((1, -1), abs=1e-3)
    assert items["all"] == pytest.approx((1, -1, 1, 1), abs=1e-3)
    assert (scores[-1].metric, scores[-1].group, items["neighbours"]) == ("nearest kept", "neighbours", (100.0,) * 4), (
        "of four passages each has the three others among its ten nearest"
    )
    assert result.neighbourhood.texts == tuple(text for lang in corpora(root) for text in TEXTS[lang])


def test_speed_reads_so_many_passages_of_all_languages_together(root, evaluator):
    scores = SpeedTask(kind="speed", passages=2).evaluate(evaluator, Inputs(corpora(root))).scores
    assert {score.n for score in scores} == {2}


def test_ten_relevant_documents_of_twelve_are_all_that_the_first_ten_ranks_can_hold():
    """Every rank up to ten is right, which nothing can better: nDCG 100, though recall is 10 of 12."""
    documents = np.eye(14, dtype=np.float32)
    query = np.arange(14, 0, -1, dtype=np.float32)[None]
    figures = ranking_figures(nearest_rows(query, documents, 10), [dict.fromkeys(range(12), 1.0)])
    assert figures[:, 0] == pytest.approx([100.0, 100 * 10 / 12, 100.0])


def test_a_target_that_lies_near_many_sources_is_scaled_by_its_own_neighbours():
    """The margin of each pair by its formula; the first half of the targets lie near all sources, the others do not."""
    rng = np.random.default_rng(0)
    source = unit((rng.standard_normal((80, 6)) + 2 * np.eye(6)[0]).astype(np.float32))
    pull = np.where(np.arange(80) < 40, 2.0, 0.0)[:, None] * np.array([[1, 0, 0, 0, 0, 0]])
    target = unit((source + 0.4 * rng.standard_normal((80, 6)) + pull).astype(np.float32))
    cosines = (source @ target.T).astype(np.float64)
    near_source = np.sort(cosines, axis=1)[:, -4:].mean(axis=1)
    near_target = np.sort(cosines, axis=0)[-4:].mean(axis=0)

    def accuracy(of_targets):
        margins = cosines / (near_source[:, None] / 2 + of_targets[None, :] / 2)
        return 100 * np.mean(margins.argmax(axis=1) == np.arange(80))

    assert accuracy(near_target) != accuracy(near_source), "the two can be told apart"
    found = translations_found(source, target, COSINE, margin=True)
    assert found.mean() == pytest.approx(accuracy(near_target), abs=1e-3)
