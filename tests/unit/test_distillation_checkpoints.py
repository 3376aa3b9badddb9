from __future__ import annotations

import logging

import pytest
import torch

from langtailor.distillation.checkpoints import Checkpoints, RunProgress, Snapshot


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
    store.save(snapshot(200))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000200"]


def test_a_checkpoint_of_another_run_is_removed_and_logged(store, tmp_path, caplog):
    store.save(snapshot(100))
    with caplog.at_level(logging.INFO, "langtailor"):
        assert Checkpoints(tmp_path, "another").load() is None
    assert "belongs to other settings or inputs" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(store, tmp_path, caplog):
    store.save(snapshot(100))
    (tmp_path / "step-00000100").rename(tmp_path / "kept")
    store.save(snapshot(200))
    (tmp_path / "kept").rename(tmp_path / "step-00000100")
    weights = tmp_path / "step-00000200" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    assert store.load().progress.step == 100
    assert "model.safetensors: does not match its checksum" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000100"]


def test_what_a_killed_write_left_is_removed(store, tmp_path):
    store.save(snapshot(100))
    (tmp_path / ".step-00000200.x.part").mkdir()
    assert store.load().progress.step == 100
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000100"]


def test_clearing_leaves_what_is_no_checkpoint(store, tmp_path):
    store.save(snapshot(100))
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    store.clear()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
