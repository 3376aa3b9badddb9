"""Evaluation figures agree with scipy and sentence-transformers, and their intervals behave."""

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sentence_transformers.sentence_transformer.evaluation import TranslationEvaluator

from langtailor.errors import ArtifactError, SourceError
from langtailor.evaluation.encoding import encode_texts
from langtailor.evaluation.scores import Evaluation, Score, bootstrap, interval, mean_score
from langtailor.evaluation.tasks.bitext import bitext_scores, translations_found
from langtailor.evaluation.tasks.sts import StsTask, sts_scores
from langtailor.models.loading import load_sentence_transformer
from langtailor.models.similarity import COSINE, unit
from langtailor.sources.sentence_pairs import read_pairs
from tests.models import make_tiny_bert_teacher

GENERATOR = np.random.default_rng(0)


def vectors(n, d=8):
    return unit(GENERATOR.normal(size=(n, d)).astype(np.float32))


def test_sts_is_scipys_spearman_and_pearson_times_100():
    cosines, gold = GENERATOR.normal(size=60), GENERATOR.integers(0, 5, size=60).astype(float)
    spearman, pearson = sts_scores(cosines, gold, resamples=0, seed=0)
    assert spearman.value == pytest.approx(100 * spearmanr(cosines, gold).statistic, abs=1e-4)
    assert pearson.value == pytest.approx(100 * pearsonr(cosines, gold).statistic, abs=1e-4)
    assert spearman.low is None


def test_every_resample_of_sts_is_scipys_figure_too():
    cosines, gold = GENERATOR.normal(size=40), GENERATOR.integers(0, 5, size=40).astype(float)
    seen = []
    bootstrap(lambda rows: seen.append(rows) or np.zeros(len(rows)), 40, 50, seed=7)
    expected = [100 * spearmanr(cosines[rows], gold[rows]).statistic for rows in seen[0]]
    low, high = np.percentile(expected, [2.5, 97.5])
    spearman = sts_scores(cosines, gold, resamples=50, seed=7)[0]
    assert (spearman.low, spearman.high) == pytest.approx((low, high), abs=1e-3)


def test_similarities_that_are_all_equal_correlate_with_nothing(caplog):
    gold = np.array([0.1, 0.2, 0.3, 0.4])
    with caplog.at_level("WARNING", "langtailor"):
        scores = sts_scores(np.full(4, 0.1), gold, resamples=20, seed=1)
    assert [(score.value, score.low, score.high) for score in scores] == [(0, 0, 0), (0, 0, 0)]
    assert "the model gives all 4 pairs the same similarity" in caplog.text


def test_the_interval_of_a_mean_covers_it_as_often_as_it_says():
    hits = 0
    for trial in range(200):
        items = np.random.default_rng(trial).normal(loc=30.0, size=80)
        score = mean_score("x", items, resamples=200, seed=trial)
        hits += score.low <= 30 <= score.high
    assert 0.88 <= hits / 200 <= 0.99


def test_resamples_do_not_depend_on_how_many_are_held_at_once(monkeypatch):
    items = GENERATOR.normal(size=30)
    whole = bootstrap(lambda rows: items[rows].mean(axis=1), 30, 40, seed=3)
    monkeypatch.setattr("langtailor.evaluation.scores._INDICES_AT_ONCE", 90)
    parts = bootstrap(lambda rows: items[rows].mean(axis=1), 30, 40, seed=3)
    assert np.array_equal(whole, parts)


def test_no_resamples_give_no_interval():
    assert interval(np.empty(0)) == (None, None)
    assert mean_score("x", np.array([1.0, 2.0]), resamples=0, seed=0).low is None


def test_one_item_is_its_own_interval():
    score = mean_score("x", np.array([7.0]), resamples=20, seed=0)
    assert (score.value, score.low, score.high) == (7, 7, 7)


def test_equal_seeds_and_numbers_of_items_give_equal_resamples():
    items, others = GENERATOR.normal(size=(2, 60))
    drawn = np.random.default_rng(11).integers(0, 60, size=(30, 60))
    assert np.array_equal(bootstrap(lambda rows: items[rows].mean(axis=1), 60, 30, seed=11), items[drawn].mean(axis=1))
    assert np.array_equal(bootstrap(lambda rows: others[rows].max(axis=1), 60, 30, seed=11), others[drawn].max(axis=1))


def bitext(source, target, margin=False, resamples=0):
    directions = (translations_found(*pair, COSINE, margin=margin) for pair in ((source, target), (target, source)))
    return bitext_scores(*directions, resamples=resamples, seed=0)


def test_bitext_accuracy_is_that_of_sentence_transformers():
    source = vectors(50)
    target = unit(source + 0.6 * vectors(50))
    texts = {f"s{i}": row for i, row in enumerate(source)} | {f"t{i}": row for i, row in enumerate(target)}

    class Evaluator(TranslationEvaluator):
        """The vectors are given instead of a model."""

        def embed_inputs(self, model, sentences, **_):
            return [torch.from_numpy(texts[sentence]) for sentence in sentences]

        def store_metrics_in_model_card_data(self, *_, **__):
            pass

    theirs = Evaluator([f"s{i}" for i in range(50)], [f"t{i}" for i in range(50)], write_csv=False)(None)
    scores, items = bitext(source, target, resamples=20)
    ours = {score.group: score.value / 100 for score in scores}
    assert ours["forward"] == pytest.approx(theirs["src2trg_accuracy"], abs=1e-5)
    assert ours["backward"] == pytest.approx(theirs["trg2src_accuracy"], abs=1e-5)
    assert ours["both directions"] == pytest.approx((ours["forward"] + ours["backward"]) / 2, abs=1e-5)
    assert len(items["both directions"]) == 50


def test_the_margin_beats_a_hub():
    """A target that lies near everything catches every query by cosine; the margin sees through it."""
    source = np.eye(6, dtype=np.float32)
    hub = unit(np.ones((1, 6), dtype=np.float32))
    target = unit(0.3 * np.eye(6, dtype=np.float32) + 0.7 * np.repeat(hub, 6, axis=0))
    target[0] = hub[0]
    plain, margin = (bitext(source, target, margin)[0][1].value for margin in (False, True))
    assert margin >= plain


def test_margin_scores_follow_their_formula():
    source, target = vectors(7), vectors(7)
    cosines = (source @ target.T).astype(np.float64)
    near_source = np.sort(cosines, axis=1)[:, -4:].mean(axis=1)
    near_target = np.sort(cosines, axis=0)[-4:].mean(axis=0)
    margins = cosines / (near_source[:, None] / 2 + near_target[None, :] / 2)
    expected = 100 * np.mean(margins.argmax(axis=1) == np.arange(7))
    assert bitext(source, target, margin=True)[0][1].value == pytest.approx(expected, abs=1e-3)


def test_texts_are_encoded_once_and_come_back_in_order(tmp_path):
    model = load_sentence_transformer(make_tiny_bert_teacher(tmp_path / "teacher"), "cpu")
    calls = []
    model.register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0]["input_ids"])))
    texts = ["the old ferry", "eski vapur", "the old ferry"]
    found = encode_texts(model, texts, "p: ", "x")
    assert sum(calls) == 2
    assert np.allclose(found, model.encode(texts, prompt="p: "), atol=1e-6)


def test_an_evaluation_round_trips_and_notices_damage(tmp_path):
    result = Evaluation("sts", "sts", "abc", (Score("spearman", 80.0, 79.0, 81.0, 5),), {"cosine": (0.5,)}, (1.0,))
    result.write(tmp_path / "sts.json")
    assert Evaluation.read(tmp_path / "sts.json") == result
    (tmp_path / "sts.json").write_text((tmp_path / "sts.json").read_text().replace("80.0", "90.0"))
    with pytest.raises(ArtifactError, match="checksum"):
        Evaluation.read(tmp_path / "sts.json")


def sts(tmp_path, name, text, **columns):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return StsTask(kind="sts", path=str(tmp_path / name), **columns)


def test_pairs_are_read_with_and_without_a_header(tmp_path):
    comma = sts(tmp_path, "a.csv", '"bir, iki",two,3.5\nx,y,0\nNA,null,5\n', columns=(0, 1, 2))
    assert read_pairs(comma).first == ("bir, iki", "x", "NA")
    tabs = sts(tmp_path, "a.tsv", 'sentence1\tsentence2\tscore\nhe said "hi\tb\t1\nc\td\t2\ne\tf\t3\n')
    pairs = read_pairs(tabs)
    assert pairs.first[0] == 'he said "hi'
    assert pairs.gold.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sentence1,sentence2,points\na,b,1\n", "no column 'score'; it has"),
        ("sentence1,sentence2,score\na,b,1\nc,d,high\n", "line 3: 'score' is 'high', which is not a number"),
        ("sentence1,sentence2,score\na,b,1\n", "too few"),
        (
            "sentence1,sentence2,score\na,b,2.5\nc,d,2.5\ne,f,2.5\n",
            r"a\.csv: 'score' is 2\.5 for all 3 pairs, .* needs different scores; give such pairs, .* `columns`",
        ),
        ("", "cannot be read"),
    ],
)
def test_unusable_pairs_are_named(tmp_path, text, says):
    with pytest.raises(SourceError, match=says):
        read_pairs(sts(tmp_path, "a.csv", text))
