from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

from langtailor.config.distillation import DistillationSettings
from langtailor.config.retrieval import RetrievalSettings
from langtailor.distillation.data import load_data
from langtailor.distillation.fit import check_fit
from langtailor.distillation.student import Student
from langtailor.distillation.tokens import TokenFile
from langtailor.errors import ArtifactError, ConfigError, TrainingError
from langtailor.storage.artifacts import Manifest, directory_digest, read_manifest, seal_directory
from langtailor.vectors.store import VectorStore
from tests.models import make_tiny_bert_teacher, make_tiny_gemma_teacher, make_tiny_xlmr_teacher
from tests.unit.distillation_world import DEFAULTS, WEIGHTS, WORDS, World, embedding_name, make_world, new_rows

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"), make_tiny_bert_teacher)


@pytest.fixture(scope="module")
def student(world, tmp_path_factory):
    return world.distil(tmp_path_factory.mktemp("student") / "student")


def facts(student: Path) -> dict:
    return dict(read_manifest(student, "distilled").facts)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def changed_rows(before: torch.Tensor, after: torch.Tensor) -> set[int]:
    return set(torch.nonzero((before != after).any(dim=1)).flatten().tolist())


def test_a_student_comes_nearer_to_its_teacher_in_every_language_without_the_teacher(world, student):
    assert not (world.root / "teacher").exists()
    before, after = facts(student)["before"], facts(student)["after"]
    assert after["loss"] < before["loss"] / 2
    assert set(after["languages"]) == {"en", "tr"}
    for lang, metrics in after["languages"].items():
        assert metrics["cosine"] > before["languages"][lang]["cosine"]


def cosines_by_hand(world, student):
    """Of the loaded student's vectors of the Turkish validation passages to the stored ones."""
    texts_ids = TokenFile(world.tokens["tr"]).split("validation")
    model = SentenceTransformer(str(student), device="cpu")
    with torch.no_grad():
        vectors = [
            model({"input_ids": torch.tensor(texts_ids[row])[None].long(), "attention_mask": torch.ones(1, n).long()})[
                "sentence_embedding"
            ][0].numpy()
            for row, n in enumerate(texts_ids.lengths)
        ]
    targets = VectorStore.open(world.vectors["tr"], "validation").take(np.arange(len(vectors)))
    return [v @ t / np.linalg.norm(v) / np.linalg.norm(t) for v, t in zip(vectors, targets, strict=True)]


def test_the_stated_cosine_is_what_the_loaded_student_gives(world, student):
    cosines = cosines_by_hand(world, student)
    assert facts(student)["after"]["languages"]["tr"]["cosine"] == pytest.approx(np.mean(cosines), abs=1e-5)


def test_a_validation_takes_so_many_passages_of_each_language(world, tmp_path):
    student = world.distil(tmp_path / "student", epochs=1, validation_passages=3)
    after = facts(student)["after"]
    assert (after["passages"], {metrics["passages"] for metrics in after["languages"].values()}) == (6, {3})
    cosines = cosines_by_hand(world, student)
    assert after["languages"]["tr"]["cosine"] == pytest.approx(np.mean(cosines[:3]), abs=1e-5)


def test_the_student_has_the_clones_files_but_for_weights_and_metrics(world, student):
    names = {path.relative_to(world.clone).as_posix() for path in world.clone.rglob("*") if path.is_file()}
    found = {path.relative_to(student).as_posix() for path in student.rglob("*") if path.is_file()}
    assert found == names - {"mapping.parquet"} | {"training.jsonl"}
    for name in names - {"mapping.parquet", "manifest.json", WEIGHTS}:
        assert (student / name).read_bytes() == (world.clone / name).read_bytes()
    assert load_file(student / WEIGHTS).keys() == load_file(world.clone / WEIGHTS).keys()


def test_two_runs_give_the_same_bytes(world, student, tmp_path):
    again = world.distil(tmp_path / "elsewhere" / "again")
    assert directory_digest(again) == directory_digest(student)


class Crowded(Student):
    """A student on a device with room for so many tokens in one micro-batch."""

    room = 64

    def __call__(self, ids):
        if len(ids) * max(map(len, ids)) > self.room:
            raise torch.OutOfMemoryError("no room")
        return super().__call__(ids)


def test_a_device_with_little_memory_gives_the_same_student(world, student, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("langtailor.distillation.train.Student", Crowded)
    crowded = world.distil(tmp_path / "crowded")
    assert "out of memory: validating" in caplog.text
    assert "out of memory: continuing with" in caplog.text
    for moment in ("before", "after"):
        assert facts(crowded)[moment]["loss"] == pytest.approx(facts(student)[moment]["loss"], rel=1e-3)


def test_another_seed_gives_another_student(world, student, tmp_path):
    other = world.distil(tmp_path / "other", seed=8)
    assert load_file(other / WEIGHTS).keys() == load_file(student / WEIGHTS).keys()
    assert (other / WEIGHTS).read_bytes() != (student / WEIGHTS).read_bytes()


def test_dense_modules_are_trained_and_prompts_kept(tmp_path):
    world = make_world(tmp_path / "world", make_tiny_gemma_teacher, languages=("tr",))
    student = world.distil(tmp_path / "student", epochs=2)
    before, after = (load_file(folder / "2_Dense" / WEIGHTS)["linear.weight"] for folder in (world.clone, student))
    assert not torch.equal(before, after)
    assert facts(student)["after"]["loss"] < facts(student)["before"]["loss"]
    assert SentenceTransformer(str(student), device="cpu").prompts["query"] == "task: search result | query: "


def test_the_student_is_stored_in_the_clones_precision(tmp_path):
    world = make_world(tmp_path / "world", make_tiny_bert_teacher, languages=("tr",), dtype=torch.bfloat16)
    student = world.distil(tmp_path / "student", epochs=1)
    assert {tensor.dtype for tensor in load_file(student / WEIGHTS).values()} == {torch.bfloat16}


# --- what is trained when


def test_training_new_rows_alone_leaves_everything_else_bit_identical(world, tmp_path):
    student = world.distil(tmp_path / "student", new_rows_only=1.0, weight_decay=0.1, keep="last")
    before, after = load_file(world.clone / WEIGHTS), load_file(student / WEIGHTS)
    name = embedding_name(before)
    changed = changed_rows(before[name], after[name])
    assert changed and changed <= set(new_rows(len(before[name])))
    assert all(torch.equal(before[key], after[key]) for key in before if key != name)


def test_training_embeddings_alone_leaves_the_backbone_bit_identical(world, tmp_path):
    student = world.distil(tmp_path / "student", embeddings_only=1.0, weight_decay=0.1, keep="last")
    before, after = load_file(world.clone / WEIGHTS), load_file(student / WEIGHTS)
    name = embedding_name(before)
    seen = {int(i) for file in world.tokens.values() for row in _train_rows(file) for i in row}
    assert changed_rows(before[name], after[name]) == seen
    assert all(torch.equal(before[key], after[key]) for key in before if key != name)


def test_the_table_is_trained_first_and_everything_later(world, tmp_path):
    settings = {"new_rows_only": 0.25, "embeddings_only": 0.25, "weight_decay": 0.1, "keep": "last"}
    steps = facts(world.distil(tmp_path / "student", **settings))["steps"]
    before, after = load_file(world.clone / WEIGHTS), load_file(tmp_path / "student" / WEIGHTS)
    assert not any(torch.equal(before[key], after[key]) for key in before if "layer" in key and "weight" in key)
    rates = [line["learning_rate"] for line in lines(tmp_path / "student" / "training.jsonl") if "loss" in line]
    assert [set(rate) for rate in rates] == (
        [{"embedding"}] * (steps // 2) + [{"embedding", "matrices", "vectors"}] * (steps - steps // 2)
    )


def _train_rows(file: Path) -> list[np.ndarray]:
    rows = TokenFile(file).split("train")
    return [rows[row] for row in range(len(rows))]


# --- validation and early stopping


def test_the_best_weights_are_kept_when_training_goes_astray(world, tmp_path):
    settings = {"learning_rate": 0.3, "embedding_learning_rate": 0.3, "decay": "constant", "validate_every": 5}
    best = facts(world.distil(tmp_path / "best", **settings))
    last = facts(world.distil(tmp_path / "last", **settings, keep="last"))
    assert best["kept_step"] < best["steps"] == last["kept_step"]
    assert best["after"]["loss"] < last["after"]["loss"]
    assert best["after"]["loss"] <= best["before"]["loss"]


def test_a_training_that_ruins_a_good_clone_keeps_the_clone_and_says_so(world, student, tmp_path, caplog):
    good = World(shutil.copytree(world.root, tmp_path / "world"))
    shutil.copyfile(student / WEIGHTS, good.clone / WEIGHTS)
    seal_directory(good.clone, Manifest("clone"))
    student = good.distil(tmp_path / "student", learning_rate=10.0, embedding_learning_rate=10.0, epochs=1)
    outcome = facts(student)
    (message,) = [text for text in caplog.messages if "training did not help" in text]
    assert f"before it is {outcome['before']['loss']:.5f}" in message
    assert outcome["kept_step"] == 0
    assert outcome["after"] == outcome["before"]
    clone, trained = load_file(good.clone / WEIGHTS), load_file(student / WEIGHTS)
    assert all(torch.equal(clone[name], trained[name]) for name in clone)


def test_training_stops_when_validation_no_longer_improves(world, tmp_path):
    settings = {"learning_rate": 0.3, "embedding_learning_rate": 0.3, "decay": "constant", "validate_every": 3}
    found = facts(world.distil(tmp_path / "student", **settings, patience=2, epochs=20))
    assert found["steps"] < found["planned_steps"]
    assert found["steps"] == found["kept_step"] + 2 * 3


def test_the_kept_weights_can_be_chosen_by_cosine(world, tmp_path):
    found = facts(world.distil(tmp_path / "student", keep="cosine", validate_every=5))
    validations = {
        line["step"]: line["validation"]["cosine"]
        for line in lines(tmp_path / "student" / "training.jsonl")
        if "validation" in line
    }
    assert found["kept_step"] == max(validations, key=validations.__getitem__)


@pytest.fixture
def pairs(tmp_path):
    """Sentence pairs that share some of their words, scored by how many; equal ones would tie but for rounding."""
    rows = ["sentence1\tsentence2\tscore"]
    for shared in range(5):
        for start in range(len(WORDS) - 6):
            left = WORDS[start : start + 5]
            right = left[:shared] + WORDS[::-1][start : start + 5 - shared]
            rows.append(f"{' '.join(left)}\t{' '.join(right)}\t{shared}")
    path = tmp_path / "pairs.tsv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_the_kept_weights_can_be_chosen_by_human_scores_and_these_are_sentence_transformers_figures(
    world, pairs, tmp_path
):
    student = world.distil(
        tmp_path / "student", keep="sts", validate_every=5, validation_sts={"path": str(pairs)}, patience=2
    )
    validations = {
        line["step"]: line["validation"]["sts"] for line in lines(student / "training.jsonl") if "validation" in line
    }
    kept = facts(student)["kept_step"]
    assert kept == max(validations, key=validations.__getitem__)
    first, second, scores = zip(*(line.split("\t") for line in pairs.read_text().splitlines()[1:]), strict=True)
    asked = EmbeddingSimilarityEvaluator(first, second, [float(score) for score in scores], main_similarity="cosine")
    found = asked(SentenceTransformer(str(student), device="cpu"))
    assert validations[kept] == pytest.approx(100 * found["spearman_cosine"], abs=1e-3)
    assert facts(student)["after"]["sts"] == validations[kept]


def test_a_model_that_compares_lengths_is_validated_so_and_told_of_a_loss_that_leaves_them_free(
    tmp_path, pairs, caplog
):
    def make_teacher(folder):
        make_tiny_xlmr_teacher(folder)
        file = folder / "config_sentence_transformers.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "similarity_fn_name": "dot"}))

    world = make_world(tmp_path / "world", make_teacher)
    settings = {"epochs": 0.2, "keep": "last", "validation_sts": {"path": str(pairs)}}
    student = world.distil(tmp_path / "student", **settings)
    assert "the teacher compares vectors by dot product" in caplog.text
    first, second, scores = zip(*(line.split("\t") for line in pairs.read_text().splitlines()[1:]), strict=True)
    library = EmbeddingSimilarityEvaluator(first, second, [float(score) for score in scores])
    expected = library(SentenceTransformer(str(student), device="cpu"))
    assert facts(student)["after"]["sts"] == pytest.approx(100 * expected["spearman_dot"], abs=1e-3)
    caplog.clear()
    world.distil(tmp_path / "another", **settings, objective={"cosine": 1, "mse": 1})
    assert "dot product" not in caplog.text


def test_other_sentence_pairs_make_another_run(world, pairs, tmp_path):
    settings = DistillationSettings(**DEFAULTS, validation_sts={"path": str(pairs)})
    before = load_data(world.clone, world.tokens, world.vectors, settings).inputs
    pairs.write_text(pairs.read_text().replace("\t4\n", "\t4.5\n"))
    after = load_data(world.clone, world.tokens, world.vectors, settings).inputs
    assert {name for name in after if after[name] != before[name]} == {"validation_sts"}


def test_metrics_in_the_student_do_not_know_the_clock_and_the_live_ones_do(student):
    stored, live = lines(student / "training.jsonl"), lines(student.with_name("student.checkpoints") / "metrics.jsonl")
    steps = [line for line in stored if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, facts(student)["steps"] + 1))
    assert set(steps[0]) == {"step", "epoch", "loss", "cosine", "gradient_norm", "learning_rate"}
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert len(live) == len(stored)
    assert all(line["passages_per_s"] > 0 and line["tokens_per_s"] > 0 for line in live if "loss" in line)


def test_tensorboard_gets_the_metrics(world, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    world.distil(tmp_path / "student", tmp_path / "checkpoints", epochs=0.5, tensorboard=True)
    events = EventAccumulator(str(tmp_path / "checkpoints" / "tensorboard"))
    events.Reload()
    assert {"loss", "validation/languages/tr/cosine"} <= set(events.Tags()["scalars"])


def test_a_loss_that_is_not_finite_stops_the_run_with_step_and_passages(world, tmp_path):
    with pytest.raises(TrainingError, match=r"step \d+ of \d+: loss nan.* is not finite.* passages: (en|tr):\w+#0, "):
        world.distil(tmp_path / "student", learning_rate=1e36, clip_norm=1e30, decay="constant", warmup=0)
    assert not (tmp_path / "student").exists()


# --- what cannot be trained


def test_languages_can_be_left_out_by_their_weight(world, tmp_path):
    only = facts(world.distil(tmp_path / "student", language_weights={"en": 0}, epochs=1))
    assert only["passages"] == 64  # 60 Turkish passages in batches of 8
    assert set(only["after"]["languages"]) == {"en", "tr"}


@pytest.mark.parametrize(
    ("settings", "key", "says"),
    [
        ({"language_weights": {"xx": 1}}, "language_weights", "found 'xx', which is not one of"),
        ({"language_weights": {"en": 0, "tr": 0}}, "language_weights", "no passage is left"),
        ({"objective": {"matryoshka": [64]}}, "objective.matryoshka", "found 64"),
    ],
)
def test_settings_that_do_not_fit_the_data_name_their_key(world, tmp_path, settings, key, says):
    with pytest.raises(ConfigError, match=rf"`distillation\.{key}`: .*{says}"):
        world.distil(tmp_path / "student", **settings)


def test_a_batch_that_processes_cannot_divide_evenly_is_refused(world):
    settings = DistillationSettings(**DEFAULTS)
    data = load_data(world.clone, world.tokens, world.vectors, settings)
    student = Student(world.clone, settings, torch.device("cpu"))
    with pytest.raises(ConfigError, match="found 8, which 3 processes cannot divide evenly"):
        check_fit(data, student, settings, processes=3)


def test_without_queries_to_validate_on_their_setting_is_named(tmp_path):
    world = make_world(tmp_path / "world", make_tiny_bert_teacher, languages=("tr",), splits=(16, 0, 0))
    settings = RetrievalSettings(max_length=DEFAULTS["max_length"])
    data = load_data(world.clone, world.tokens, world.vectors, settings)
    student = Student(world.clone, settings, torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"`retrieval\.keep`: .*use `last` or raise queries\.validation"):
        check_fit(data, student, settings, processes=1)


def test_without_validation_passages_the_last_weights_must_be_asked_for(tmp_path):
    world = make_world(tmp_path / "world", make_tiny_bert_teacher, languages=("tr",), splits=(16, 0, 0))
    with pytest.raises(
        ConfigError, match=r"the validation split is empty; use `last` or raise corpus\.quotas\.validation"
    ):
        world.distil(tmp_path / "student")
    found = facts(world.distil(tmp_path / "student", keep="last", epochs=1))
    assert (found["kept_step"], found["before"], found["after"]) == (2, None, None)


def test_inputs_that_do_not_belong_together_are_refused(world, tmp_path):
    other = make_world(tmp_path / "other", make_tiny_bert_teacher, languages=("en", "tr"), splits=(61, 20, 4))
    mixed = World(tmp_path / "mixed", ("tr",))
    mixed.root.mkdir()
    (mixed.root / "clone").symlink_to(world.clone)
    (mixed.root / "tokens").symlink_to(world.root / "tokens")
    (mixed.root / "vectors").symlink_to(other.root / "vectors")
    with pytest.raises(ArtifactError, match=r"\.arrow: "):
        mixed.distil(tmp_path / "student")
    with pytest.raises(ArtifactError, match="was truncated at 24 tokens, but max_length is 12"):
        world.distil(tmp_path / "student", max_length=12)


# --- variants of computing


@pytest.mark.parametrize("settings", [{"precision": "bfloat16"}, {"dropout": True}, {"gradient_checkpointing": True}])
def test_a_student_also_learns_with(world, tmp_path, settings):
    found = facts(world.distil(tmp_path / "student", **settings))
    assert found["after"]["loss"] < 0.7 * found["before"]["loss"]


# --- interruption


def start(world: World, out: Path, checkpoints: Path, settings: dict, **environment: str) -> subprocess.Popen:
    command = [
        sys.executable,
        "-m",
        "tests.unit.distillation_world",
        world.root,
        out,
        checkpoints,
        json.dumps(settings),
    ]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "workflow")])
    return subprocess.Popen(
        list(map(str, command)),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_at(process: subprocess.Popen, metrics: Path, count: int) -> None:
    """Kill a run as soon as its live metrics have so many lines."""
    while process.poll() is None:
        if metrics.is_file() and metrics.read_bytes().count(b"\n") >= count:
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(0.002)
    assert process.wait() == -signal.SIGKILL, process.stderr.read()


INTERRUPTED = {
    "checkpoint_minutes": 0.0,
    "new_rows_only": 0.3,
    "embeddings_only": 0.2,
    "dropout": True,
    "interpolation": 0.5,
}


@pytest.fixture(scope="module")
def undisturbed(world, tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the processes that are killed
    yield world.distil(tmp_path_factory.mktemp("undisturbed") / "student", **INTERRUPTED)
    torch.set_num_threads(threads)


def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(world, undisturbed, tmp_path):
    out, checkpoints = tmp_path / "student", tmp_path / "checkpoints"
    kill_at(start(world, out, checkpoints, INTERRUPTED), checkpoints / "metrics.jsonl", 18)
    saved = [path.name for path in checkpoints.iterdir() if path.name.startswith("step-")]
    assert saved and saved != ["step-00000004"]
    process = start(world, out, checkpoints, INTERRUPTED)
    assert process.wait() == 0, process.stderr.read()
    assert directory_digest(out) == directory_digest(undisturbed)
    assert [path.name for path in checkpoints.iterdir()] == ["metrics.jsonl"]
    assert len(lines(checkpoints / "metrics.jsonl")) == len(lines(out / "training.jsonl"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_killed_again_and_again_ends_in_the_same_bytes(world, undisturbed, tmp_path):
    out, checkpoints = tmp_path / "student", tmp_path / "checkpoints"
    total = len(lines(undisturbed / "training.jsonl"))
    for count in (1, 6, 9, 17, 23, 30, 41, total - 2):
        kill_at(start(world, out, checkpoints, INTERRUPTED), checkpoints / "metrics.jsonl", count)
    process = start(world, out, checkpoints, INTERRUPTED)
    assert process.wait() == 0, process.stderr.read()
    assert directory_digest(out) == directory_digest(undisturbed)


def test_a_checkpoint_of_other_settings_is_never_resumed(world, student, tmp_path, caplog):
    out, checkpoints = tmp_path / "student", tmp_path / "checkpoints"
    with pytest.raises(TrainingError):
        world.distil(
            out, checkpoints, learning_rate=1e36, clip_norm=1e30, warmup=0, checkpoint_minutes=0.0, patience=None
        )
    assert any(path.name.startswith("step-") for path in checkpoints.iterdir())
    with caplog.at_level(logging.INFO, "langtailor"):
        world.distil(out, checkpoints)
    assert "belongs to other settings or inputs: not resumed, removed" in caplog.text
    assert directory_digest(out) == directory_digest(student)


def test_how_often_a_run_is_saved_does_not_shape_the_student(world, student, tmp_path):
    often = world.distil(tmp_path / "often", checkpoint_minutes=0.0)
    assert (often / WEIGHTS).read_bytes() == (student / WEIGHTS).read_bytes()
