"""A run's static export beside model2vec and tokenlearn, made of the same student and, where they read text, the same texts.

    snakemake --cores all exports --configfile benchmarks/smaller.yaml
    pip install --no-deps model2vec==0.10.0 tokenlearn==0.2.1 skeletoken==0.6.1 more-itertools
    PYTHONPATH=workflow python benchmarks/static_peers.py benchmarks/smaller.yaml tokens

Prints the run's tasks for each: the score, and how far the export is above it, with the paired 95 % interval. The tables have
as many rows and dimensions as the export's.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from langtailor.config.run import Settings
from langtailor.evaluation.comparison import difference
from langtailor.evaluation.run import run_task
from langtailor.evaluation.scores import Evaluation
from langtailor.evaluation.task import EvaluationTask, Inputs
from langtailor.export.evaluator import ExportEvaluator
from langtailor.export.format import Source, find_format
from langtailor.export.formats import register_formats
from langtailor.export.formats.static import TEXTS
from langtailor.export.static.client import StaticClient
from langtailor.models.loading import load_teacher
from langtailor.planning.configuration import load_settings

if TYPE_CHECKING:
    from model2vec import StaticModel
    from sentence_transformers import SentenceTransformer

_BATCH = 64


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("config", type=Path, help="the run's configuration")
    made.add_argument("variant", help="one with a static export")
    options = made.parse_args()
    logging.basicConfig(level=logging.WARNING)
    register_formats()
    settings = load_settings(yaml.safe_load(options.config.read_text(encoding="utf-8")))
    results = Path("results") / settings.run
    student, export = (results / kind / options.variant for kind in ("student", "export"))
    model = load_teacher(student, settings.reading.model_copy(update={"dtype": "float32"}), "cpu")
    with tempfile.TemporaryDirectory() as scratch:
        corpora = {lang: results / "corpus" / f"{lang}.parquet" for lang in settings.corpus.languages}
        source = Source(student, model, "", find_format("static").bounds, [], Path(scratch), corpora)
        peers = write_peers(model, student, source.training_texts(TEXTS), Path(scratch))
        folders = {"static export": export / "static", **peers}
        scores = {name: evaluate(settings, model, student, corpora, folder) for name, folder in folders.items()}
    print_table(scores, settings)


def write_peers(model: SentenceTransformer, student: Path, texts: Sequence[str], out: Path) -> dict[str, Path]:
    """Folders of the peers, by name."""
    makers: dict[str, Callable[[], StaticModel]] = {
        "model2vec": partial(distilled, student, model.get_embedding_dimension()),
        "tokenlearn": partial(learned, model, student, texts),
    }
    folders = {}
    for name, make in makers.items():
        folders[name] = out / name
        make().save_pretrained(str(folders[name]))
    return folders


def distilled(student: Path, dimensions: int | None) -> StaticModel:
    """What model2vec makes of the student's tokens; it reads no text."""
    from model2vec.distill import distill

    return distill(model_name=str(student), pca_dims=dimensions, quantize_to="float32", device="cpu")


def learned(model: SentenceTransformer, student: Path, texts: Sequence[str]) -> StaticModel:
    """The same after tokenlearn has trained it to give the means of the student's token vectors."""
    from tokenlearn import pretrain
    from tokenlearn.train import train_model

    class FineTuner(pretrain.StaticModelFineTuner):  # type: ignore[misc, unused-ignore]
        """Its batches are padded with 0; it asks for the id of ``[PAD]``, and without one makes all rows zero."""

        def __init__(self, vectors: Any, out_dim: int, pad_id: int | None) -> None:
            super().__init__(vectors, out_dim, pad_id or 0)

    pretrain.StaticModelFineTuner = FineTuner
    dimensions = model.get_embedding_dimension()
    return train_model(distilled(student, dimensions), list(texts), token_means(model, texts), "cpu", dimensions)


def token_means(model: SentenceTransformer, texts: Sequence[str]) -> np.ndarray:
    """The mean of each text's token vectors but the first and the last, which are special; float32, shape (texts, d)."""
    means = np.empty((len(texts), model.get_embedding_dimension() or 0), np.float32)
    order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
    for start in range(0, len(order), _BATCH):
        rows = order[start : start + _BATCH]
        encoded = model.encode([texts[row] for row in rows], output_value="token_embeddings", show_progress_bar=False)
        for row, vectors in zip(rows, encoded, strict=True):
            means[row] = vectors[1:-1].float().mean(dim=0).numpy()
    return means


def evaluate(
    settings: Settings, model: SentenceTransformer, student: Path, corpora: Mapping[str, Path], folder: Path
) -> dict[str, Evaluation]:
    """The tasks that need no other model's vectors, by name."""
    static = find_format("static")
    file = folder / static.file
    reading, resamples = settings.reading, settings.evaluation.bootstrap
    opened = partial(StaticClient, file, folder, threads=1)
    evaluator = ExportEvaluator(student, model, file, static, opened, reading, resamples, settings.seed)
    tasks = {
        name: task
        for name, task in settings.evaluation.tasks.items()
        if isinstance(task, EvaluationTask) and static.is_judged_by(task, list(corpora))
    }
    with tempfile.TemporaryDirectory() as scores:
        out = Path(scores) / "scores.json"
        return {name: run_task(name, task, evaluator, Inputs(corpora), out) for name, task in tasks.items()}


def print_table(scores: Mapping[str, Mapping[str, Evaluation]], settings: Settings) -> None:
    """One line a task: the export's score, and each peer's with the difference."""
    export, *peers = scores
    lines = ["| | " + " | ".join([export, *(part for peer in peers for part in (peer, "difference"))]) + " |"]
    for name, evaluation in scores[export].items():
        cells = [f"{evaluation.main.value:.2f}"]
        for peer in peers:
            other = scores[peer][name]
            found = difference(evaluation, other, evaluation.main, settings.evaluation.bootstrap, settings.seed)
            cells.append(f"{other.main.value:.2f}")
            cells.append("" if found is None else f"{found.value:+.2f} ({found.low:.2f} to {found.high:.2f})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
