"""Encoding: what sentence-transformers gives, with little padding, whatever the model, the cores and the memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from langtailor.errors import LangtailorError
from langtailor.models.encoder import Encoder
from tests.models import make_tiny_bert_teacher, make_tiny_gemma_teacher, make_tiny_xlmr_teacher
from tests.unit.surgery_teachers import TEXTS

TEACHERS: dict[str, Callable[[Path], Path]] = {
    "bert": make_tiny_bert_teacher,
    "gemma": make_tiny_gemma_teacher,
    "xlmr": make_tiny_xlmr_teacher,
}
WORDS = " ".join(TEXTS).split()
#: Of all lengths; some far beyond the models' 128 tokens.
MIXED = [" ".join(WORDS[i % 50 : i % 50 + 1 + i * i % 90]) for i in range(90)] + ["a", "?!", "🙂 ok", "x" * 700]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    return {name: make(tmp_path_factory.mktemp(name) / "teacher") for name, make in TEACHERS.items()}


def load(folder: Path) -> SentenceTransformer:
    return SentenceTransformer(str(folder), device="cpu").eval()


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", TEACHERS)
@pytest.mark.parametrize("prompt", ["", "title: none | text: "])
def test_vectors_are_those_of_sentence_transformers(folders, name, prompt):
    model = load(folders[name])
    assert_same(Encoder(model, prompt, 512).encode(MIXED, "test"), model.encode(MIXED, prompt=prompt, batch_size=7))


@pytest.mark.parametrize(
    "mode", ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken", ["cls", "mean"]]
)
@pytest.mark.parametrize("include_prompt", [True, False])
def test_every_pooling_mode_works_with_and_without_the_prompt(folders, mode, include_prompt):
    model = load(folders["bert"])
    from sentence_transformers.sentence_transformer.modules import Pooling

    model[1] = Pooling(32, mode, include_prompt)
    prompt = "title: none | text: "
    assert_same(Encoder(model, prompt, 300).encode(MIXED, "test"), model.encode(MIXED, prompt=prompt, batch_size=8))


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side_works(folders, side):
    model = load(folders["gemma"])
    model.tokenizer.padding_side = side
    assert_same(Encoder(model, "", 300).encode(MIXED, "test"), model.encode(MIXED, batch_size=8))


def test_texts_are_truncated_at_the_models_limit(folders):
    model = load(folders["xlmr"])
    model.max_seq_length = 12
    encoder = Encoder(model, "", 512)
    assert_same(encoder.encode(MIXED, "test"), model.encode(MIXED))
    assert encoder.tokens <= 12 * len(MIXED)


def test_bfloat16_models_give_float32_vectors(folders):
    model = load(folders["bert"]).to(torch.bfloat16)
    found, expected = Encoder(model, "", 512).encode(MIXED, "test"), model.encode(MIXED, convert_to_tensor=True)
    assert found.dtype == np.float32
    cosines = torch.cosine_similarity(torch.from_numpy(found), expected.float())
    assert cosines.min() > 0.999


def test_the_number_of_cores_and_a_rerun_change_no_bit(folders):
    model = load(folders["bert"])
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 3, 3):
            torch.set_num_threads(threads)
            found.append(Encoder(model, "", 256).encode(MIXED, "test").tobytes())
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1] == found[2]


def test_no_batch_exceeds_the_budget_and_all_are_counted(folders):
    model, seen, lock = load(folders["bert"]), [], threading.Lock()

    def forward(features: dict[str, Any]) -> torch.Tensor:
        with lock:
            seen.append((features["input_ids"].numel(), int(features["attention_mask"].sum())))
        return model(features)["sentence_embedding"]

    encoder = Encoder(model, "", 300, forward)
    encoder.encode(MIXED, "test")
    assert max(padded for padded, _ in seen) <= 300
    assert encoder.padded_tokens == sum(padded for padded, _ in seen)
    assert encoder.tokens == sum(tokens for _, tokens in seen)
    assert encoder.tokens == int(model.preprocess(MIXED)["attention_mask"].sum())
    assert encoder.padding_share < 0.05


def test_texts_of_similar_length_share_a_window(folders, monkeypatch):
    """Sorted before they are cut into windows, texts of each length meet; in their own order each window has all."""
    monkeypatch.setattr("langtailor.models.encoder._WINDOW", 10)
    texts = [" ".join(WORDS[: 1 + 9 * (number % 10)]) for number in range(100)]
    encoder = Encoder(load(folders["bert"]), "", 2_048)
    encoder.encode(texts, "test")
    assert encoder.padding_share == 0


def test_many_windows_keep_the_order(folders, monkeypatch):
    monkeypatch.setattr("langtailor.models.encoder._WINDOW", 7)
    model = load(folders["bert"])
    assert_same(Encoder(model, "", 200).encode(MIXED, "test"), model.encode(MIXED))


def limited(model: SentenceTransformer, most: int) -> Callable[[dict[str, Any]], torch.Tensor]:
    def forward(features: dict[str, Any]) -> torch.Tensor:
        if features["input_ids"].numel() > most:
            raise torch.OutOfMemoryError(f"more than {most} tokens")
        return model(features)["sentence_embedding"]

    return forward


def test_out_of_memory_halves_the_batches_and_goes_on(folders, caplog):
    model = load(folders["bert"])
    found = Encoder(model, "", 1024, limited(model, 300)).encode(MIXED, "test")
    assert_same(found, model.encode(MIXED))
    assert "out of memory: continuing with" in caplog.text


def test_after_an_out_of_memory_the_next_windows_are_batched_for_what_there_is(folders, monkeypatch, caplog):
    monkeypatch.setattr("langtailor.models.encoder._WINDOW", 30)
    model = load(folders["bert"])
    encode, encoded, failures = limited(model, 300), [0], []

    def forward(features: dict[str, Any]) -> torch.Tensor:
        try:
            vectors = encode(features)
        except torch.OutOfMemoryError:
            failures.append(sum(encoded))
            raise
        encoded.append(len(vectors))
        return vectors

    with torch_threads(1):
        Encoder(model, "", 1_024, forward).encode(MIXED, "test")
    assert failures
    assert max(failures) < 30 < sum(encoded), "in the first window alone"
    assert "continuing with batches of 128 tokens" not in caplog.text, "not lowered by every batch of the first window"


def test_on_a_cpu_no_batch_is_larger_than_a_cores_cache(folders):
    model, sizes = load(folders["bert"]), []

    def forward(features: dict[str, Any]) -> torch.Tensor:
        sizes.append(features["input_ids"].numel())
        return model(features)["sentence_embedding"]

    Encoder(model, "", 100_000, forward).encode(MIXED, "test")
    assert 1_024 < max(sizes) <= 2_048


def test_a_text_that_fits_no_memory_is_an_error_that_says_so(folders):
    model = load(folders["bert"])
    with pytest.raises(LangtailorError, match=r"one passage of 128 tokens; lower teacher\.max_length"):
        Encoder(model, "", 1024, limited(model, 100)).encode(MIXED, "test")


def test_no_text_gives_no_vector(folders):
    assert Encoder(load(folders["bert"]), "", 64).encode([], "test").shape == (0, 32)


def test_features_without_a_row_per_text_pass_through(folders):
    model = load(folders["bert"])
    seen = []

    def forward(features: dict[str, Any]) -> torch.Tensor:
        seen.append((features["prompt_length"], features["modality"]))
        return model(features)["sentence_embedding"]

    Encoder(model, "query: ", 4_096, forward).encode(MIXED[:3], "test")
    assert json.dumps(seen[0]) == json.dumps((model.preprocess(["x"], prompt="query: ")["prompt_length"], "text"))
