"""Checkpoints of a training run: complete, checked, and only ever resumed by the run that wrote them.

A checkpoint is a folder ``step-00000120`` with a manifest, written under a temporary name and renamed. It holds no pickles:
tensors are safetensors, the rest is JSON. What is a function of the step (learning rate, order of passages, dropout masks)
is not stored. Each checkpoint is complete in itself, so that a new one replaces the old and a kill between the two costs
nothing. Training goes on while one is written and hashed.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from langtailor.errors import ArtifactError
from langtailor.storage.artifacts import (
    Manifest,
    atomic_directory,
    canonical_json,
    file_digests,
    read_manifest,
    seal_directory,
)
from langtailor.storage.digests import sha256_file
from langtailor.storage.json_files import load_json

_LOG = logging.getLogger("langtailor")
_KIND = "checkpoint"
_NAME = re.compile(r"step-\d{8}")
_MODEL, _OPTIMIZER, _BEST = "model.safetensors", "optimizer.safetensors", "best.safetensors"


@dataclass(frozen=True)
class RunProgress:
    """How far a run has come.

    Attributes:
        step: steps done.
        best_step: steps done at the best validation; ``None`` before the first.
        best_value: its value of what ``keep`` names, negated where higher is better.
        stale: validations since then, none of them better.
        micro_batch_tokens: most tokens of a micro-batch; halved when memory runs out.
    """

    step: int = 0
    best_step: int | None = None
    best_value: float | None = None
    stale: int = 0
    micro_batch_tokens: int = 0


@dataclass(frozen=True)
class Snapshot:
    """All that a run needs to resume.

    Attributes:
        progress: how far it has come.
        model: the model's state by name.
        optimizer: the optimiser's state by ``{parameter}/{entry}``.
        best: the model's state at the best validation; ``None`` where that is ``model`` or where none is kept.
        metrics: the lines of the metrics so far.
    """

    progress: RunProgress
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    best: Mapping[str, Tensor] | None
    metrics: list[str]


@dataclass(frozen=True)
class _Written:
    """A checkpoint on disk: its folder, how far the run had come, and the SHA-256 of its files."""

    path: Path
    progress: RunProgress
    files: Mapping[str, str]

    def holding_best_of(self, progress: RunProgress) -> str | None:
        """Its file with the weights that are the best of a later checkpoint, if it has them."""
        if progress.best_step == self.progress.step:
            return _MODEL
        return _BEST if progress.best_step == self.progress.best_step and _BEST in self.files else None


class Checkpoints:
    """The checkpoints of one run in a folder of their own.

    Args:
        folder: the folder.
        fingerprint: of everything that shapes the run; checkpoints with another are not resumed.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._folder, self._fingerprint = folder, fingerprint
        self._last: _Written | None = None
        self._writer = ThreadPoolExecutor(1, "checkpoints")
        self._writing: Future[None] | None = None

    def save(self, snapshot: Snapshot) -> None:
        """Begin to write a checkpoint, which will replace the ones before it.

        Args:
            snapshot: what to write; nobody may change its tensors any more.

        Raises:
            DiskFullError: there was no room for the checkpoint before.
        """
        self.wait()
        self._writing = self._writer.submit(self._write, snapshot)

    def wait(self) -> None:
        """Wait for the checkpoint that is being written, if one is.

        Raises:
            DiskFullError: there is no room for it.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def load(self) -> Snapshot | None:
        """The newest usable checkpoint; everything else of an earlier run is removed, with a line in the log."""
        newest = None
        for path in self._existing():
            if newest is None and self._belongs(path):
                newest = path
            else:
                shutil.rmtree(path)
        return None if newest is None else _read(newest)

    def clear(self) -> None:
        """Remove all checkpoints."""
        self.wait()
        for path in self._existing():
            shutil.rmtree(path)

    def _write(self, snapshot: Snapshot) -> None:
        path = self._folder / f"step-{snapshot.progress.step:08d}"
        with atomic_directory(path) as folder:
            save_file(_contiguous(snapshot.model), folder / _MODEL)
            save_file(_contiguous(snapshot.optimizer), folder / _OPTIMIZER)
            (folder / "progress.json").write_text(canonical_json(asdict(snapshot.progress)), encoding="utf-8")
            (folder / "metrics.json").write_text(canonical_json(snapshot.metrics), encoding="utf-8")
            files = file_digests(folder)
            if snapshot.best is not None:
                files[_BEST] = self._write_best(snapshot.best, snapshot.progress, folder / _BEST)
            seal_directory(folder, Manifest(_KIND, {"fingerprint": self._fingerprint}, files=files))
        self._last = _Written(path, snapshot.progress, files)
        for other in self._existing():
            if other != path:
                shutil.rmtree(other)

    def _write_best(self, best: Mapping[str, Tensor], progress: RunProgress, out: Path) -> str:
        """Write the best weights, or link them to where the last checkpoint has them; returns their SHA-256."""
        held = self._last.holding_best_of(progress) if self._last else None
        if self._last and held:
            try:
                os.link(self._last.path / held, out)
            except OSError:  # a file system without hard links
                pass
            else:
                return self._last.files[held]
        save_file(_contiguous(best), out)
        return sha256_file(out)

    def _existing(self) -> list[Path]:
        """Checkpoint folders, the newest first, then what killed writes left."""
        if not self._folder.is_dir():
            return []
        entries = sorted(self._folder.iterdir(), reverse=True)
        unfinished = [path for path in entries if path.name.startswith(".step-")]
        return [path for path in entries if _NAME.fullmatch(path.name)] + unfinished

    def _belongs(self, path: Path) -> bool:
        try:
            fingerprint = read_manifest(path, _KIND).made_by.get("fingerprint")
        except ArtifactError as error:
            _LOG.warning("a checkpoint cannot be resumed: %s", error)
            return False
        if fingerprint != self._fingerprint:
            _LOG.info("%s belongs to other settings or inputs: not resumed, removed", path)
        return bool(fingerprint == self._fingerprint)


def _read(path: Path) -> Snapshot:
    best = path / _BEST
    return Snapshot(
        RunProgress(**load_json(path / "progress.json")),
        load_file(path / _MODEL),
        load_file(path / _OPTIMIZER),
        load_file(best) if best.is_file() else None,
        load_json(path / "metrics.json"),
    )


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
