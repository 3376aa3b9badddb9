"""A small world in which a student can be trained: a damaged copy of a tiny teacher, its tokens, the teacher's vectors.

Run as a module it trains in a process of its own:
``python -m tests.unit.distillation_world FOLDER OUT CHECKPOINTS SETTINGS``.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import load_file, save_file

from langtailor.config.distillation import DistillationSettings
from langtailor.config.teacher import TeacherSettings
from langtailor.config.vectors import Shard
from langtailor.distillation.hidden_states import WholeClone
from langtailor.distillation.tokens import tokenize_corpora
from langtailor.distillation.train import Training, distil
from langtailor.storage.artifacts import Manifest, atomic_directory, seal_directory
from langtailor.storage.tables import CORPUS, MAPPING, write_table
from langtailor.vectors.encode import encode_shards

WEIGHTS = "model.safetensors"
WORDS = ["red", "green", "house", "river", "walks", "small", "old", "bird", "stone", "under", "over", "the", "seven"]
DEFAULTS = {
    "epochs": 4,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "embedding_learning_rate": 1e-2,
    "validate_every": 10,
    "checkpoint_minutes": 60.0,
    "max_length": 24,
}


@dataclass(frozen=True)
class World:
    """Folders of the inputs of a distillation; the teacher's is gone."""

    root: Path
    languages: tuple[str, ...] = ("en", "tr")

    @property
    def clone(self) -> Path:
        return self.root / "clone"

    @property
    def tokens(self) -> dict[str, Path]:
        return {lang: self.root / "tokens" / f"{lang}.arrow" for lang in self.languages}

    @property
    def vectors(self) -> dict[str, list[Path]]:
        return {lang: sorted((self.root / "vectors" / lang).rglob("*.arrow")) for lang in self.languages}

    def distil(self, out: Path, checkpoints: Path | None = None, seed: int = 7, **settings: Any) -> Path:
        """Train on the CPU; returns ``out``."""
        distil(self.training(out, checkpoints, seed, **settings), "cpu")
        return out

    def training(self, out: Path, checkpoints: Path | None = None, seed: int = 7, **settings: Any) -> Training:
        """A training of its clone, by its hidden states where the settings give them a weight."""
        compared = settings.get("objective", {}).get("hidden_states")
        return Training(
            self.clone,
            self.tokens,
            self.vectors,
            DistillationSettings(**{**DEFAULTS, **settings}),
            seed,
            checkpoints or out.with_name(f"{out.name}.checkpoints"),
            out,
            whole=other_weights(self.clone, self.root / "whole") if compared else None,
        )


def make_world(
    root: Path,
    make_teacher: Callable[[Path], Path],
    languages: Sequence[str] = ("en", "tr"),
    splits: tuple[int, int, int] = (60, 20, 4),
    dtype: torch.dtype = torch.float32,
) -> World:
    """Build a world; equal calls give equal bytes."""
    teacher = root / "teacher"
    make_teacher(teacher)
    seal_directory(teacher, Manifest("teacher"))
    settings = TeacherSettings(model="tiny")
    make_clone(teacher, root / "clone", dtype)
    for lang in languages:
        corpus = root / "corpus" / f"{lang}.parquet"
        write_corpus(corpus, lang, splits)
        planned = [Shard(lang, number, 50 * number, 50, 50) for number in range(2)]
        encode_shards(planned, {lang: corpus}, teacher, settings, 16_384, "cpu", root / "vectors" / lang)
        outs = {lang: root / "tokens" / f"{lang}.arrow"}
        tokenize_corpora({lang: corpus}, root / "clone", settings, DEFAULTS["max_length"], outs)
    shutil.rmtree(teacher)
    return World(root, tuple(languages))


def make_clone(teacher: Path, out: Path, dtype: torch.dtype = torch.float32) -> None:
    """The teacher with new random rows in place of some, said to be composed of two teacher rows each."""
    with atomic_directory(out) as folder:
        shutil.copytree(teacher, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json"))
        tensors = load_file(folder / WEIGHTS)
        table = tensors[embedding_name(tensors)]
        new = new_rows(len(table))
        table[new] = torch.randn(len(new), table.shape[1], generator=torch.Generator().manual_seed(3)) * table.std()
        save_file({key: value.to(dtype) for key, value in tensors.items()}, folder / WEIGHTS, {"format": "pt"})
        write_mapping(folder / "mapping.parquet", len(table))
        seal_directory(folder, Manifest("clone"))


def other_weights(clone: Path, folder: Path) -> WholeClone:
    """A clone of a world's shape with other weights, whose hidden states the world's clone can learn; made once."""
    if not folder.exists():
        with atomic_directory(folder) as made:
            shutil.copytree(clone, made, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json"))
            noise = torch.Generator().manual_seed(5)
            tensors = load_file(clone / WEIGHTS)
            others = {key: value + 0.05 * torch.randn(value.shape, generator=noise) for key, value in tensors.items()}
            save_file(others, made / WEIGHTS, {"format": "pt"})
            seal_directory(made, Manifest("clone"))
    return WholeClone(folder, (0, 1))


def embedding_name(names: Iterable[str]) -> str:
    endings = ("word_embeddings.weight", "embed_tokens.weight", "tok_embeddings.weight")
    return next(name for name in names if name.endswith(endings))


def new_rows(rows: int) -> list[int]:
    """Rows of the embedding table that the clone has forgotten and calls new."""
    return list(range(20, rows, 2))


def write_mapping(path: Path, rows: int) -> None:
    new = set(new_rows(rows))
    columns = [
        pa.array(np.arange(rows, dtype=np.int32)),
        pa.array([[0, 1] if row in new else [row] for row in range(rows)], pa.list_(pa.int32())),
        pa.array([[0.5, 0.5] if row in new else [1.0] for row in range(rows)], pa.list_(pa.float32())),
    ]
    facts = {"new_rows": [[row, row] for row in new_rows(rows)]}
    write_table(path, pa.table(columns, schema=MAPPING), Manifest("mapping", facts=facts))


def write_corpus(path: Path, lang: str, splits: tuple[int, int, int], *, pairs: bool = False) -> None:
    names = [name for name, count in zip(("train", "validation", "test"), splits, strict=True) for _ in range(count)]
    draw = random.Random(lang)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(1, 12))) for _ in names]
    ids = [f"{lang}{number}#0" for number in range(len(names))]
    aligned = pa.array(texts[::-1]) if pairs else pa.nulls(len(names), pa.string())
    columns = [ids, [lang] * len(names), texts, names, aligned]
    facts = {"passages": dict(zip(("train", "validation", "test"), splits, strict=True))}
    write_table(path, pa.table(columns, schema=CORPUS), Manifest("corpus", facts=facts))


if __name__ == "__main__":
    world, out, checkpoints, settings = sys.argv[1:]
    torch.set_num_threads(1)
    World(Path(world)).distil(Path(out), Path(checkpoints), **json.loads(settings))
