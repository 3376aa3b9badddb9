"""Checkpoints of a training run: complete, checked, and only ever resumed by the run that wrote them.

A checkpoint is a folder ``step-00000120`` with a manifest, written under a temporary name and renamed. It holds no pickles:
tensors are safetensors, the rest is JSON. What is a function of the step (learning rate, order of passages, dropout masks)
is not stored. Each checkpoint is complete in itself, so that a new one replaces the old and a kill between the two costs
nothing.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from langtailor.errors import ArtifactError
from langtailor.storage.artifacts import Manifest, atomic_directory, canonical_json, read_manifest
from langtailor.storage.json_files import load_json

_LOG = logging.getLogger("langtailor")
_KIND = "checkpoint"
_NAME = re.compile(r"step-\d{8}")


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


class Checkpoints:
    """The checkpoints of one run in a folder of their own.

    Args:
        folder: the folder.
        fingerprint: of everything that shapes the run; checkpoints with another are not resumed.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._folder, self._fingerprint = folder, fingerprint

    def save(self, snapshot: Snapshot) -> None:
        """Write a checkpoint and remove the ones before it."""
        path = self._folder / f"step-{snapshot.progress.step:08d}"
        with atomic_directory(path, Manifest(_KIND, {"fingerprint": self._fingerprint})) as folder:
            save_file(_contiguous(snapshot.model), folder / "model.safetensors")
            save_file(_contiguous(snapshot.optimizer), folder / "optimizer.safetensors")
            if snapshot.best is not None:
                save_file(_contiguous(snapshot.best), folder / "best.safetensors")
            (folder / "progress.json").write_text(canonical_json(asdict(snapshot.progress)), encoding="utf-8")
            (folder / "metrics.json").write_text(canonical_json(snapshot.metrics), encoding="utf-8")
        for other in self._existing():
            if other != path:
                shutil.rmtree(other)

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
        for path in self._existing():
            shutil.rmtree(path)

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
            _LOG.warning("a checkpoint is not resumed: %s", error)
            return False
        if fingerprint != self._fingerprint:
            _LOG.info("%s belongs to other settings or inputs: not resumed, removed", path)
        return bool(fingerprint == self._fingerprint)


def _read(path: Path) -> Snapshot:
    best = path / "best.safetensors"
    return Snapshot(
        RunProgress(**load_json(path / "progress.json")),
        load_file(path / "model.safetensors"),
        load_file(path / "optimizer.safetensors"),
        load_file(best) if best.is_file() else None,
        load_json(path / "metrics.json"),
    )


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
