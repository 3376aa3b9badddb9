"""A model's vectors are compared as the model says, with the figures of the library's own evaluators."""

import json
import shutil
from itertools import pairwise

import numpy as np
import pytest
import torch
from sentence_transformers import util
from sentence_transformers.sentence_transformer.evaluation import (
    EmbeddingSimilarityEvaluator,
    InformationRetrievalEvaluator,
)
from sklearn.linear_model import LogisticRegression

from langtailor.config.teacher import TeacherSettings
from langtailor.errors import SourceError
from langtailor.evaluation.comparison import read_comparisons
from langtailor.evaluation.evaluator import Evaluator
from langtailor.evaluation.run import run_task
from langtailor.evaluation.task import Inputs
from langtailor.evaluation.tasks.bitext import BitextTask, translations_found
from langtailor.evaluation.tasks.classification import ClassificationTask
from langtailor.evaluation.tasks.retrieval import RetrievalTask
from langtailor.evaluation.tasks.sts import StsTask
from langtailor.models.folder import ModelInfo
from langtailor.models.loading import load_sentence_transformer
from langtailor.models.similarity import COSINE, SIMILARITIES, Similarity, unit
from langtailor.storage.artifacts import Manifest, seal_directory
from tests.models import make_tiny_xlmr_teacher
from tests.unit.surgery_teachers import TARGET, TEXTS

DOCUMENTS = [*TEXTS, *TARGET]
PAIRS = list(pairwise(DOCUMENTS))
GOLD = [(7 * row) % 6 for row in range(len(PAIRS))]


@pytest.fixture(scope="module")
def without_normalize(tmp_path_factory):
    """A model whose vectors have different lengths."""
    folder = make_tiny_xlmr_teacher(tmp_path_factory.mktemp("teacher") / "model")
    lengths = np.linalg.norm(load_sentence_transformer(folder, "cpu").encode(DOCUMENTS), axis=1)
    assert lengths.max() > 1.05 * lengths.min()
    return folder


@pytest.fixture(params=SIMILARITIES)
def model(without_normalize, tmp_path, request):
    return with_similarity(without_normalize, tmp_path / "model", request.param)


def with_similarity(folder, out, name):
    shutil.copytree(folder, out)
    file = out / "config_sentence_transformers.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "similarity_fn_name": name}))
    return out


def evaluator_of(model):
    return Evaluator(model, TeacherSettings(model=str(model)), resamples=10, seed=1, device="cpu")


def write_lines(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("width", [None, 8])
def test_retrieval_ranks_as_the_model_says(model, tmp_path, width):
    queries = {f"q{row}": DOCUMENTS[row][:25] for row in range(0, len(DOCUMENTS), 2)}
    corpus = {f"d{row}": text for row, text in enumerate(DOCUMENTS)}
    relevant = {name: {f"d{name[1:]}", f"d{(int(name[1:]) + 5) % len(DOCUMENTS)}"} for name in queries}
    judged = [f"{query}\t{document}\t1" for query in queries for document in sorted(relevant[query])]
    task = RetrievalTask(
        kind="retrieval",
        queries=write_lines(tmp_path / "q.jsonl", (json.dumps({"_id": k, "text": v}) for k, v in queries.items())),
        corpus=write_lines(tmp_path / "c.jsonl", (json.dumps({"_id": k, "text": v}) for k, v in corpus.items())),
        qrels=write_lines(tmp_path / "r.tsv", ["query-id\tcorpus-id\tscore", *judged]),
        truncate_dim=width,
    )
    found = {score.metric: score.value for score in task.evaluate(evaluator_of(model), Inputs()).scores}
    library = InformationRetrievalEvaluator(queries, corpus, relevant, write_csv=False, truncate_dim=width)
    expected = library(load_sentence_transformer(model, "cpu"))
    name = ModelInfo.read(model).similarity
    for metric in ("ndcg@10", "mrr@10", "recall@10"):
        assert found[metric] == pytest.approx(100 * expected[f"{name}_{metric}"], abs=1e-3)


def test_sentence_pairs_are_compared_as_the_model_says(model, tmp_path):
    lines = [f"{first}\t{second}\t{gold}" for (first, second), gold in zip(PAIRS, GOLD, strict=True)]
    task = StsTask(kind="sts", path=write_lines(tmp_path / "pairs.tsv", ["sentence1\tsentence2\tscore", *lines]))
    result = task.evaluate(evaluator_of(model), Inputs())
    name = ModelInfo.read(model).similarity
    firsts, seconds = zip(*PAIRS, strict=True)
    library = EmbeddingSimilarityEvaluator(firsts, seconds, GOLD, write_csv=False)
    expected = library(load_sentence_transformer(model, "cpu"))
    for score in result.scores:
        assert score.value == pytest.approx(100 * expected[f"{score.metric}_{name}"], abs=1e-2)
    assert set(result.items) == {name}


def test_models_compared_by_distance_are_told_apart_pair_by_pair(without_normalize, tmp_path):
    model = with_similarity(without_normalize, tmp_path / "model", "manhattan")
    seal_directory(model, Manifest("teacher"))
    lines = [f"{first}\t{second}\t{gold}" for (first, second), gold in zip(PAIRS, GOLD, strict=True)]
    task = StsTask(kind="sts", path=write_lines(tmp_path / "pairs.tsv", ["sentence1\tsentence2\tscore", *lines]))
    models = {"teacher": "teacher", "cut": "tailored/clone", "trained": "tailored/student"}
    for place in models.values():
        run_task("sts", task, evaluator_of(model), Inputs(), tmp_path / "evaluation" / place / "sts.json")
    spearman, _ = read_comparisons(tmp_path / "evaluation", models, ["sts"], resamples=20, seed=0)
    assert spearman.to_teacher["trained"].value == 0
    assert spearman.to_teacher["trained"].low == 0


def test_the_nearest_sentence_is_found_as_the_model_says(model):
    generator = np.random.default_rng(0)
    source, noise = generator.standard_normal((2, 40, 6)).astype(np.float32)
    target = source * generator.uniform(0.2, 3, (40, 1)).astype(np.float32) + 0.8 * noise
    similarity = Similarity(ModelInfo.read(model).similarity)
    found = translations_found(similarity.prepare(source), similarity.prepare(target), similarity, margin=False)
    compare = util.SimilarityFunction.to_similarity_fn(similarity.name)
    expected = compare(torch.from_numpy(source), torch.from_numpy(target)).argmax(dim=1).numpy() == np.arange(40)
    assert found.tolist() == [100.0 if hit else 0.0 for hit in expected]


def test_the_ratio_margin_is_that_of_the_cosine_whatever_the_model_says(without_normalize, tmp_path):
    task = BitextTask(
        kind="bitext",
        source=write_lines(tmp_path / "a.txt", (first.replace("\n", " ") for first, _ in PAIRS)),
        target=write_lines(tmp_path / "b.txt", (second.replace("\n", " ") for _, second in PAIRS)),
        margin=True,
    )
    models = [with_similarity(without_normalize, tmp_path / name, name) for name in ("cosine", "manhattan")]
    cosine, manhattan = (task.evaluate(evaluator_of(model), Inputs()) for model in models)
    assert cosine == manhattan


def test_labels_are_predicted_from_vectors_of_their_own_length_unless_the_cosine_compares_them(model, tmp_path):
    labels = ["abc"[row % 3] for row in range(len(DOCUMENTS))]
    rows = [f"{text}\t{label}" for text, label in zip(DOCUMENTS, labels, strict=True)]
    file = write_lines(tmp_path / "labels.tsv", ["text\tlabel", *rows])
    score = (
        ClassificationTask(kind="classification", train=file, test=file)
        .evaluate(evaluator_of(model), Inputs())
        .scores[0]
    )
    vectors = load_sentence_transformer(model, "cpu").encode(DOCUMENTS)
    if ModelInfo.read(model).similarity == "cosine":
        vectors = unit(vectors)
    expected = LogisticRegression(max_iter=1_000, random_state=1).fit(vectors, labels).score(vectors, labels)
    assert score.value == pytest.approx(100 * expected, abs=100 / len(labels) + 1e-3)


def test_a_model_that_says_nothing_is_compared_by_cosine(without_normalize, tmp_path):
    assert ModelInfo.read(with_similarity(without_normalize, tmp_path / "null", None)).similarity == "cosine"
    (tmp_path / "null" / "config_sentence_transformers.json").unlink()
    assert ModelInfo.read(tmp_path / "null").similarity == "cosine"
    assert COSINE.name == "cosine"


def test_an_unknown_similarity_is_refused(without_normalize, tmp_path):
    with pytest.raises(SourceError, match="similarity_fn_name 'maxsim' is none of cosine, dot, euclidean, manhattan"):
        ModelInfo.read(with_similarity(without_normalize, tmp_path / "model", "maxsim"))
