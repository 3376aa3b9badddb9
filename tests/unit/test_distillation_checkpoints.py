from __future__ import annotations

import errno
import logging
import os
import threading

import pytest
import torch

from langtailor.distillation import checkpoints
from langtailor.distillation.checkpoints import Checkpoints, RunProgress, Snapshot
from langtailor.errors import DiskFullError


def snapshot(step: int, *, best: bool = True) -> Snapshot:
    return Snapshot(
        RunProgress(step, best_step=step // 2, best_value=0.25, stale=1, micro_batch_tokens=64),
        {"weight": torch.full((2, 3), float(step))},
        {"weight/step": torch.tensor(float(step)), "weight/exp_avg": torch.ones(2, 3)},
        {"weight": torch.zeros(2, 3)} if best else None,
        [f'{{"step":{step}}}'],
    )


@pytest.fixture
def store(tmp_path):
    return Checkpoints(tmp_path, "fingerprint")


@pytest.mark.parametrize("best", [True, False])
def test_a_checkpoint_gives_back_what_was_saved(store, best):
    store.save(snapshot(120, best=best))
    store.wait()
    loaded, saved = store.load(), snapshot(120, best=best)
    assert loaded.progress == saved.progress
    assert loaded.metrics == saved.metrics
    assert torch.equal(loaded.model["weight"], saved.model["weight"])
    assert {name: value.tolist() for name, value in loaded.optimizer.items()} == {
        name: value.tolist() for name, value in saved.optimizer.items()
    }
    assert (loaded.best is not None) is best


def test_without_a_checkpoint_there_is_nothing_to_resume(store):
    assert store.load() is None


def test_a_new_checkpoint_replaces_the_old(store, tmp_path):
    store.save(snapshot(100))
    store.wait()
    store.save(snapshot(200))
    store.wait()
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000200"]


def test_a_checkpoint_of_another_run_is_removed_and_logged(store, tmp_path, caplog):
    store.save(snapshot(100))
    store.wait()
    with caplog.at_level(logging.INFO, "langtailor"):
        assert Checkpoints(tmp_path, "another").load() is None
    assert "belongs to other settings or inputs" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(store, tmp_path, caplog):
    store.save(snapshot(100))
    store.wait()
    (tmp_path / "step-00000100").rename(tmp_path / "kept")
    store.save(snapshot(200))
    store.wait()
    (tmp_path / "kept").rename(tmp_path / "step-00000100")
    weights = tmp_path / "step-00000200" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    assert store.load().progress.step == 100
    assert "model.safetensors: does not match its checksum" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000100"]


def test_what_a_killed_write_left_is_removed(store, tmp_path):
    store.save(snapshot(100))
    store.wait()
    (tmp_path / ".step-00000200.x.part").mkdir()
    assert store.load().progress.step == 100
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000100"]


def test_clearing_leaves_what_is_no_checkpoint(store, tmp_path):
    store.save(snapshot(100))
    store.wait()
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    store.clear()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_weights_that_stay_the_best_are_written_once(store, tmp_path):
    def save(step: int, best_step: int) -> int:
        """The inode of the best weights of a checkpoint."""
        best = {"weight": torch.full((2, 3), float(best_step))} if best_step != step else None
        model = {"weight": torch.full((2, 3), float(step))}
        store.save(Snapshot(RunProgress(step, best_step=best_step), model, {}, best, []))
        store.wait()
        file = "best.safetensors" if best else "model.safetensors"
        return (tmp_path / f"step-{step:08d}" / file).stat().st_ino

    first, *others, another = [save(*steps) for steps in ((100, 100), (200, 100), (300, 100), (400, 350))]
    assert others == [first, first]
    assert another != first
    loaded = Checkpoints(tmp_path, "fingerprint").load()
    assert loaded.progress.step == 400
    assert loaded.best["weight"].unique().tolist() == [350.0]


def test_where_files_cannot_be_linked_they_are_written(store, monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    for step in (100, 101):
        store.save(snapshot(step))
    assert store.load().best["weight"].unique().tolist() == [0.0]


def test_training_goes_on_while_a_checkpoint_is_written(store, monkeypatch):
    written, go_on = threading.Event(), threading.Event()
    seal = checkpoints.seal_directory

    def slow(*args):
        go_on.wait(60)
        seal(*args)
        written.set()

    monkeypatch.setattr(checkpoints, "seal_directory", slow)
    store.save(snapshot(100))
    assert not written.is_set()
    go_on.set()
    store.wait()
    assert written.is_set()


def test_a_checkpoint_that_could_not_be_written_ends_the_run_at_the_next(store, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    store.save(snapshot(100))
    with pytest.raises(DiskFullError):
        store.save(snapshot(200))
