"""Fitted rows: the loss falls, nothing else changes, and the same seed gives the same bytes."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from langtailor.clone.clone import clone_model
from langtailor.clone.token_distillation import _passages_with, _shared_ends
from langtailor.config.initialisation import InitialisationSettings
from langtailor.errors import ConfigError
from langtailor.storage import tables
from langtailor.storage.artifacts import Manifest, read_manifest
from tests.unit.surgery_teachers import TARGET, TEXTS
from tests.unit.test_cloning import embedding, make_workshop


@pytest.fixture(scope="module", params=["bert", "gemma", "xlmr"])
def workshop(request, tmp_path_factory):
    return make_workshop(tmp_path_factory.mktemp(request.param), request.param)


def write_corpus(path, texts):
    rows = {
        "id": [str(i) for i in range(len(texts))],
        "lang": ["tr"] * len(texts),
        "text": texts,
        "split": ["train"] * len(texts),
        "pair": [None] * len(texts),
    }
    facts = {"passages": {"train": len(texts), "validation": 0, "test": 0}}
    tables.write_table(path, pa.table(rows, schema=tables.CORPUS), Manifest("corpus", facts=facts))
    return {"tr": path}


def fitted(workshop, name, corpora, seed=3, **settings):
    out = workshop.root / name
    chosen = InitialisationSettings(
        method="mean", token_distillation={"steps": 80, "batch_size": 8, "learning_rate": 0.01, **settings}
    )
    inputs = (workshop.teacher, workshop.root / "tokenizer", workshop.root / "vocabulary.parquet")
    clone_model(*inputs, chosen, seed, out, corpora=corpora)
    return out


def test_new_rows_alone_are_fitted(workshop):
    corpora = write_corpus(workshop.root / "tr.parquet", [*TEXTS, *TARGET])
    plain, fit = workshop.clone("plain"), fitted(workshop, "fit", corpora)
    facts = read_manifest(fit, "clone").facts["token_distillation"]
    assert facts["after"] < 0.95 * facts["before"]
    old, new = (load_file(folder / "model.safetensors") for folder in (plain, fit))
    name = embedding(old)
    others = [key for key in old if key != name]
    assert all(torch.equal(old[key], new[key]) for key in others)
    changed = (old[name] != new[name]).any(dim=1)
    assert set(changed.nonzero().flatten().tolist()) <= set(workshop.new)
    assert changed.any()


def test_the_same_seed_gives_the_same_bytes(workshop):
    corpora = write_corpus(workshop.root / "again.parquet", [*TEXTS, *TARGET])
    one, other = (fitted(workshop, name, corpora, steps=4) / "model.safetensors" for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


def test_text_without_a_new_token_is_an_error(workshop):
    corpora = write_corpus(workshop.root / "none.parquet", ["."])
    with pytest.raises(ConfigError, match="no train passage has a new token"):
        fitted(workshop, "never", corpora)
    assert not (workshop.root / "never").exists()


def test_of_more_passages_than_a_fit_reads_an_even_sample_is_held(tmp_path):
    words = [f"word{number}" for number in range(40)]
    tokenizer = Tokenizer(WordLevel({"old": 0, "new": 1, "[UNK]": 2}, "[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    texts = [f"{word} {'new' if number % 2 else 'old'}" for number, word in enumerate(words)]
    corpora = write_corpus(tmp_path / "tr.parquet", texts)
    with_new = texts[1::2]
    everything = _passages_with(np.array([1]), tokenizer, corpora, {}, 100, seed=0)
    assert (everything.found, everything.drawn) == (20, with_new)
    times = Counter()
    for seed in range(400):
        some = _passages_with(np.array([1]), tokenizer, corpora, {}, 5, seed)
        assert (some.found, len(set(some.drawn))) == (20, 5)
        times.update(some.drawn)
    assert set(times) == set(with_new)
    # A passage is drawn 100 times on average, with a standard deviation of 8.7.
    assert 65 < min(times.values()) <= max(times.values()) < 135


def test_positions_that_end_alike_are_compared(workshop):
    old, new = (
        Tokenizer.from_file(str(folder / "tokenizer.json"))
        for folder in (workshop.teacher, workshop.root / "tokenizer")
    )
    text = " ".join(TARGET)[:200]
    one, other = old.encode(text), new.encode(text)
    pairs = list(_shared_ends(one, other))
    assert pairs
    assert all(one.offsets[i][1] == other.offsets[j][1] for i, j in pairs)
    assert len({j for _, j in pairs}) == len(pairs)
