"""A static model: the rows are the best there are, and every library reads the same vectors from its folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, models, pre_tokenizers

from langtailor.config.teacher import TeacherSettings
from langtailor.errors import ExportError
from langtailor.export.evaluator import ExportEvaluator
from langtailor.export.format import Source, find_format
from langtailor.export.run import write_export
from langtailor.export.static.client import StaticClient
from langtailor.export.static.rows import centred, fit_rows, partly_whitened, prior_rows, token_shares
from langtailor.export.static.single_tokens import single_token_vectors
from langtailor.models.similarity import unit
from langtailor.models.tokenizer_file import open_tokenizer
from langtailor.storage import tables
from langtailor.storage.artifacts import Manifest
from tests.unit.export_world import make_student

WORDS = ("deniz", "mavi", "ev", "old", "ferry", "tree", "the", "walnut")


def words_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({word: row for row, word in enumerate(WORDS)}, unk_token="the"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def texts(count: int, seed: int = 5) -> list[str]:
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, size=generator.integers(2, 7))) for _ in range(count)]


def test_a_row_of_the_matrix_holds_the_share_of_each_token():
    shares = token_shares(words_tokenizer(), ["deniz mavi deniz ev", "", "ferry"]).toarray()
    assert shares[0].tolist() == [0.5, 0.25, 0.25, 0, 0, 0, 0, 0]
    assert not shares[1].any()
    assert shares[2, 4] == 1


def test_rows_that_there_are_are_found():
    """Vectors that are means of rows, but for what no row can say."""
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(len(WORDS), 6))
    some = texts(800)
    vectors = (token_shares(words_tokenizer(), some) @ rows).astype(np.float32)
    shares = token_shares(words_tokenizer(), some)
    found = fit_rows(
        shares, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.eye(len(WORDS), 6, dtype=np.float32)
    )
    others = texts(50, seed=6)
    expected = centred((token_shares(words_tokenizer(), others) @ rows).astype(np.float32))
    reached = token_shares(words_tokenizer(), others) @ found.rows
    cosines = (expected * reached).sum(axis=1) / np.linalg.norm(expected, axis=1) / np.linalg.norm(reached, axis=1)
    assert cosines.mean() > 0.9
    assert found.ridge == max(found.tried, key=found.tried.__getitem__)


def test_the_rows_are_the_least_squares_of_numpy():
    generator, shares = np.random.default_rng(2), token_shares(words_tokenizer(), texts(300))
    vectors, single = (generator.normal(size=(rows, 4)).astype(np.float32) for rows in (300, len(WORDS)))
    found = fit_rows(shares, vectors, single)
    dense, targets, prior = (
        shares.toarray().astype(np.float64),
        centred(vectors),
        prior_rows(shares, centred(vectors), single),
    )
    moments = dense.T @ dense + found.ridge * np.eye(len(WORDS))
    np.testing.assert_allclose(found.rows, np.linalg.solve(moments, dense.T @ targets + found.ridge * prior), atol=1e-4)


def test_a_token_that_no_text_holds_is_what_the_student_says_of_it():
    some = [text for text in texts(300) if "walnut" not in text]
    generator, shares = np.random.default_rng(3), token_shares(words_tokenizer(), some)
    vectors, single = (generator.normal(size=(rows, 4)).astype(np.float32) for rows in (len(some), len(WORDS)))
    rows, alone = fit_rows(shares, vectors, single).rows, centred(single)
    cosines = (unit(rows) * unit(alone)).sum(axis=1)
    assert cosines[WORDS.index("walnut")] > 0.9999
    assert max(cosine for word, cosine in zip(WORDS, cosines, strict=True) if word != "walnut") < 0.999


def test_directions_in_which_texts_differ_much_weigh_less_and_stay_where_they_are():
    generator = np.random.default_rng(4)
    directions = np.linalg.qr(generator.normal(size=(4, 4)))[0]
    coordinates = np.linalg.qr(generator.normal(size=(200, 4)))[0] * (100, 10, 1, 0)
    vectors, rows = ((part @ directions.T).astype(np.float32) for part in (coordinates, np.eye(4)))
    whitened = partly_whitened(rows, vectors)
    # To the power of 0.7, but for the last two, which are below 3 % of the largest.
    expected = (1, 0.1**-0.3, 0.03**-0.3, 0.03**-0.3)
    np.testing.assert_allclose(whitened @ directions, np.diag(expected), atol=1e-5)
    assert np.isfinite(partly_whitened(rows, np.zeros((3, 4), np.float32))).all()


def test_frequent_tokens_start_with_shorter_rows():
    some = ["deniz mavi", "deniz ev", "deniz old", "deniz ferry"]
    shares, single = token_shares(words_tokenizer(), some), np.eye(len(WORDS), dtype=np.float32)
    targets = np.full((4, len(WORDS)), 2 / np.sqrt(len(WORDS)), np.float32)
    prior = prior_rows(shares, targets, single)
    lengths = dict(zip(WORDS, np.linalg.norm(prior, axis=1), strict=True))
    assert lengths["deniz"] < lengths["mavi"] < lengths["walnut"]
    np.testing.assert_allclose(np.linalg.norm(shares @ prior, axis=1).mean(), 2, rtol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "xlmr", "gemma", "qwen3"])
def test_a_token_alone_is_read_as_a_text_that_is_this_token(kind, tmp_path):
    model, student = make_student(tmp_path, kind)
    tokenizer = open_tokenizer(student)
    vectors = single_token_vectors(model, tokenizer, tokenizer.get_vocab_size(with_added_tokens=True))
    words = {
        word: tokenizer.encode(word, add_special_tokens=False).ids for word in ("deniz", "the", "a", "e", "1", ".")
    }
    single = {word: ids[0] for word, ids in words.items() if len(ids) == 1}
    assert len(single) > 1
    np.testing.assert_allclose(vectors[list(single.values())], model.encode(list(single)), atol=1e-5)


@pytest.fixture(scope="module", params=["bert", "xlmr", "gemma"])
def static(request, tmp_path_factory):
    """A student, its folder, and that of its static export."""
    root = tmp_path_factory.mktemp(request.param)
    model, student = make_student(root, request.param)
    made = find_format("static")
    corpora = {lang: write_corpus(root / f"{lang}.parquet", lang) for lang in ("en", "tr")}
    source = Source(student, model, "", made.bounds, ["deniz"], root, corpora)
    facts = next(write_export(made, source, root / "static"))
    assert facts["texts"] == 80
    return model, student, root / "static"


def write_corpus(path: Path, lang: str) -> Path:
    train = texts(40, seed=len(lang))
    rows = {"id": [f"{lang}{row}" for row in range(40)], "lang": [lang] * 40, "text": train, "split": ["train"] * 40}
    table = pa.table({**rows, "pair": pa.nulls(40, pa.string())}, schema=tables.CORPUS)
    tables.write_table(path, table, Manifest("corpus"))
    return path


def test_the_folder_is_a_model_of_sentence_transformers(static):
    _, _, folder = static
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    some = ["deniz mavi", "the old walnut tree", "ev", "deniz mavi " * 300]
    client = StaticClient(folder / "model.safetensors", folder, 1)
    np.testing.assert_allclose(model.encode(some), client(some), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(client(some), axis=1), 1, atol=1e-6)
    assert not client([""]).any()


def test_model2vec_reads_the_same_vectors(static):
    model2vec = pytest.importorskip("model2vec")
    _, _, folder = static
    some = ["deniz mavi", "the old walnut tree"]
    client = StaticClient(folder / "model.safetensors", folder, 1)
    np.testing.assert_allclose(model2vec.StaticModel.from_pretrained(folder).encode(some), client(some), atol=1e-6)


def test_it_is_evaluated_without_prompt_and_special_tokens(static):
    model, student, folder = static
    file, made = folder / "model.safetensors", find_format("static")
    settings = TeacherSettings(model="tiny", prompt="query: ")
    evaluator = ExportEvaluator(student, model, file, made, lambda: StaticClient(file, folder, 1), settings, 10, 1)
    some = ["deniz mavi", "the old walnut tree", ""]
    np.testing.assert_allclose(evaluator.vectors(some, "x"), evaluator.client(some), atol=1e-6)
    np.testing.assert_allclose(evaluator.vectors(some, "x", prompt="passage: "), evaluator.client(some), atol=1e-6)


def test_without_a_text_to_fit_on_it_is_refused(static, tmp_path):
    model, student, _ = static
    made = find_format("static")
    source = Source(student, model, "", made.bounds, ["deniz"], tmp_path)
    with pytest.raises(ExportError, match=r"raise corpus\.quotas\.train"):
        next(write_export(made, replace(source, corpora={}), tmp_path / "static"))
