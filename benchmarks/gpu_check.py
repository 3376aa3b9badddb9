"""A machine's first run at the paper's size: teacher vectors and training, what the device gives, and what a run will cost.

Builds a model of EmbeddingGemma's shape with random weights (24 layers, two Dense modules, 262,144 tokens; its clone has
131,072) and text of log-normal length, and runs the workflow's own stages on them. Reports passages and tokens a second, the
share of the device's peak (measured here, by one large product), memory, how long the device is idle, how long a job
takes to start, and from these hours and cost of the paper's 580,000 passages::

    make gpu-check                          on a machine with CUDA
    make gpu-check DEVICE=cpu SIZE=small    the same code on a small model
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import torch
from measure import LOG, SEED, in_process, machine, peak_megabytes, start, tell
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from langtailor.config.distillation import DistillationSettings
from langtailor.config.teacher import TeacherSettings
from langtailor.config.vectors import Shard
from langtailor.distillation.tokens import tokenize_corpora
from langtailor.distillation.train import Training, distil
from langtailor.models.precision import allow_tf32, computes_bfloat16
from langtailor.storage.artifacts import Manifest, seal_directory
from langtailor.storage.tables import CORPUS, MAPPING, MAPPING_NAME, write_table
from langtailor.vectors.encode import encode_shards

_LANGUAGE = "tr"
_SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>")
#: Passages of the paper, all splits.
_PAPER_PASSAGES = 580_000
#: Jobs of the paper's recipe that load a model: of vectors, and the training.
_PAPER_JOBS = 16
_SETTLED = 5


@dataclass(frozen=True)
class Size:
    """A model and its text.

    Attributes:
        hidden: width of the model.
        layers: of the transformer.
        heads: of its attention, with one for keys and values.
        head: width of a head.
        inner: width of the layers' inner products.
        teacher_rows: of the teacher's embedding table.
        clone_rows: of the clone's.
        median: tokens of a passage.
        longest: tokens of a passage, at most.
        passages: that the teacher reads.
        batch: passages of a training step.
        steps: of the training.
    """

    hidden: int = 768
    layers: int = 24
    heads: int = 3
    head: int = 256
    inner: int = 1_152
    teacher_rows: int = 262_144
    clone_rows: int = 131_072
    median: int = 300
    longest: int = 2_048
    passages: int = 20_000
    batch: int = 256
    steps: int = 40

    def lengths(self) -> list[int]:
        """Tokens of each passage, special ones left out."""
        draw = random.Random(SEED)
        return [
            min(self.longest, max(4, round(self.median * draw.lognormvariate(0, 0.7)))) for _ in range(self.passages)
        ]

    def flops(self, tokens: Sequence[int]) -> float:
        """Of a forward pass over passages of so many tokens: two for each weight of a product, and those of attention."""
        attention = self.heads * self.head
        weights = self.layers * (2 * self.hidden * (attention + self.head) + 3 * self.hidden * self.inner)
        lengths = np.asarray(tokens, np.float64)
        return float(2 * weights * lengths.sum() + 4 * self.layers * attention * (lengths**2).sum())


SIZES = {
    "default": Size(),
    "small": Size(128, 4, 2, 64, 256, 4_096, 2_048, 40, 256, 400, 32, 12),
}


@dataclass
class Stage:
    """What a stage took.

    Attributes:
        passages_per_s: passages a second.
        tokens_per_s: tokens a second, padding left out.
        peak_share: share of the device's peak.
        memory_gb: most memory of the device; on a CPU that of the process.
        idle_share: share of the time in which the device had nothing to do.
        seconds: of the stage.
    """

    passages_per_s: float = 0.0
    tokens_per_s: float = 0.0
    peak_share: float = 0.0
    memory_gb: float = 0.0
    idle_share: float = 0.0
    seconds: float = 0.0


@dataclass
class Device:
    """The device under test.

    Attributes:
        kind: ``cpu`` or ``cuda``.
        name: what it is called.
        dtype: precision of the teacher and of the training.
        peak: products and sums a second that one large product reaches here.
    """

    kind: str
    name: str = field(init=False)
    dtype: str = field(init=False)
    peak: float = field(init=False)

    def __post_init__(self) -> None:
        self.name = torch.cuda.get_device_name() if self.kind == "cuda" else machine()["processor"]
        self.dtype = "bfloat16" if computes_bfloat16(torch.device(self.kind)) else "float32"
        self.peak = self._measured_peak()

    def memory_gb(self) -> float:
        """Most memory so far."""
        return torch.cuda.max_memory_allocated() / 1e9 if self.kind == "cuda" else peak_megabytes() / 1e3

    def wait(self) -> None:
        """Wait until it has done all."""
        if self.kind == "cuda":
            torch.cuda.synchronize()

    def _measured_peak(self) -> float:
        size = 8_192 if self.kind == "cuda" else 1_536
        left, right = (torch.randn(size, size, device=self.kind, dtype=getattr(torch, self.dtype)) for _ in range(2))
        seconds = []
        for _ in range(12):
            started = time.perf_counter()
            left @ right
            self.wait()
            seconds.append(time.perf_counter() - started)
        return 2 * size**3 / statistics.median(seconds[2:])


class Busy:
    """How long a device works: of a GPU what its driver says ten times a second, of a CPU its processor time."""

    def __init__(self, device: Device) -> None:
        self._device, self._tool = device, None
        if device.kind == "cuda":
            query = [
                "--query-gpu=utilization.gpu",
                "--format=csv,noheader,nounits",
                "-lms",
                "100",
                "-i",
                _visible_gpu(),
            ]
            self._tool = subprocess.Popen(["nvidia-smi", *query], stdout=subprocess.PIPE, text=True)
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def share(self) -> float:
        """Share of the time since the start in which it worked."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        if self._tool is None:
            return cpu / wall / torch.get_num_threads()
        self._tool.terminate()
        samples = [int(line) for line in self._tool.communicate()[0].split()]
        return statistics.mean(samples) / 100 if samples else 0.0


@dataclass(frozen=True)
class World:
    """Folders of what is built."""

    root: Path

    @property
    def teacher(self) -> Path:
        """The model."""
        return self.root / "teacher"

    @property
    def clone(self) -> Path:
        """The model with fewer tokens."""
        return self.root / "clone"

    @property
    def corpus(self) -> Path:
        """The text."""
        return self.root / "corpus" / f"{_LANGUAGE}.parquet"

    @property
    def tokens(self) -> Path:
        """Its token ids."""
        return self.root / "tokens" / f"{_LANGUAGE}.arrow"

    @classmethod
    def build(cls, root: Path, size: Size, device: Device) -> Self:
        """Make models and text."""
        world = cls(root)
        _write_model(world.teacher, size, size.teacher_rows, device.dtype)
        seal_directory(world.teacher, Manifest("teacher"))
        _write_model(world.clone, size, size.clone_rows, device.dtype)
        _write_mapping(world.clone / MAPPING_NAME, size.clone_rows)
        seal_directory(world.clone, Manifest("clone"))
        _write_corpus(world.corpus, size)
        settings = TeacherSettings(model="random")
        tokenize_corpora({_LANGUAGE: world.corpus}, world.clone, settings, size.longest, {_LANGUAGE: world.tokens})
        return world


def main() -> None:
    options = _options()
    if options.load:
        _load(Path(options.load), options.device)
        return
    start()
    allow_tf32()
    size, device = SIZES[options.size], Device(options.device)
    with tempfile.TemporaryDirectory() as folder:
        LOG.info("building models and text")
        world = World.build(Path(folder), size, device)
        startup = _startup(world, device)
        teacher = _teacher(world, size, device)
        training = _training(world, size, device)
    figures = {
        "device": device.name,
        "dtype": device.dtype,
        "peak_tflops": round(device.peak / 1e12, 2),
        "startup_s": round(startup, 1),
        "teacher": asdict(teacher),
        "training": asdict(training),
        "paper": _paper(teacher, training, startup, options.price),
        "size": {"name": options.size, **asdict(size)},
        "machine": machine(),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write("\n".join(_table(figures)) + "\n")


def _options() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    made.add_argument("--size", choices=sorted(SIZES), default="default")
    made.add_argument("--price", type=float, default=2.5, help="of an hour of the device")
    made.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu_check.json"))
    made.add_argument("--load", help=argparse.SUPPRESS)
    options = made.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        made.error("torch sees no CUDA device here; DEVICE=cpu SIZE=small runs the same code on the processor")
    return options


# -- the stages --------------------------------------------------------------------------------------------------------


def _startup(world: World, device: Device) -> float:
    """Seconds in which a job gets to its first passage: Python, libraries, device and model."""
    started = time.perf_counter()
    in_process(__file__, "--load", str(world.teacher), "--device", device.kind)
    return time.perf_counter() - started


def _load(folder: Path, device: str) -> None:
    from langtailor.models.loading import load_teacher

    load_teacher(folder, TeacherSettings(model="random"), device).encode(["w1"])
    tell({})


def _teacher(world: World, size: Size, device: Device) -> Stage:
    """The vectors of all passages."""
    settings = TeacherSettings(model="random", dtype=device.dtype, max_length=size.longest)
    shards = [Shard(_LANGUAGE, 0, 0, size.passages, size.passages)]
    corpora = {_LANGUAGE: world.corpus}
    with _clocked(device) as stage:
        encode_shards(shards, corpora, world.teacher, settings, 65_536, device.kind, world.root / "vectors")
    tokens = size.lengths()
    return _rates(stage, device, len(tokens), sum(tokens), size.flops(tokens))


def _training(world: World, size: Size, device: Device) -> Stage:
    """Some steps of the paper's recipe: cosine loss, everything trained."""
    settings = DistillationSettings(
        epochs=size.steps * size.batch / (size.passages - _held_out(size)),
        batch_size=size.batch,
        precision=device.dtype,
        max_length=size.longest,
        validate_every=size.steps,
    )
    vectors = {_LANGUAGE: sorted((world.root / "vectors" / _LANGUAGE).glob("*.arrow"))}
    checkpoints = world.root / "checkpoints"
    with _clocked(device) as stage:
        student = world.root / "student"
        distil(
            Training(world.clone, {_LANGUAGE: world.tokens}, vectors, settings, SEED, checkpoints, student), device.kind
        )
    lines = (checkpoints / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [line for line in map(json.loads, lines) if "loss" in line][_SETTLED:]
    seconds = sum(size.batch / step["passages_per_s"] for step in steps)
    tokens = sum(step["tokens_per_s"] * size.batch / step["passages_per_s"] for step in steps)
    whole = size.lengths()
    # Twice as much again for the backward pass.
    flops = 3 * size.flops(whole) * len(steps) * size.batch / len(whole)
    stage.seconds = seconds
    return _rates(stage, device, len(steps) * size.batch, int(tokens), flops)


@contextmanager
def _clocked(device: Device) -> Iterator[Stage]:
    if device.kind == "cuda":
        torch.cuda.reset_peak_memory_stats()
    stage, busy, started = Stage(), Busy(device), time.perf_counter()
    yield stage
    device.wait()
    stage.seconds = time.perf_counter() - started
    stage.idle_share = 1 - busy.share()
    stage.memory_gb = device.memory_gb()


def _rates(stage: Stage, device: Device, passages: int, tokens: int, flops: float) -> Stage:
    stage.passages_per_s, stage.tokens_per_s = passages / stage.seconds, tokens / stage.seconds
    stage.peak_share = flops / stage.seconds / device.peak
    return stage


def _paper(teacher: Stage, training: Stage, startup: float, price: float) -> dict[str, float]:
    """Hours of the paper's passages, vectors and one epoch, and their cost."""
    seconds = sum(_PAPER_PASSAGES / stage.passages_per_s for stage in (teacher, training)) + _PAPER_JOBS * startup
    return {"passages": _PAPER_PASSAGES, "hours": round(seconds / 3600, 2), "cost": round(seconds / 3600 * price, 2)}


def _table(figures: dict[str, Any]) -> list[str]:
    lines = [
        f"{figures['device']}, {figures['dtype']}, peak {figures['peak_tflops']:,} TFLOP/s; a job starts in "
        f"{figures['startup_s']} s; {figures['paper']['passages']:,} passages, vectors and one epoch: "
        f"{figures['paper']['hours']:,} hours, {figures['paper']['cost']:,.2f} at the given price",
        "",
        "| stage | passages/s | tokens/s | share of peak | memory, GB | idle |",
        "|---|---|---|---|---|---|",
    ]
    for name in ("teacher", "training"):
        stage = figures[name]
        rates = f"{stage['passages_per_s']:,.1f} | {stage['tokens_per_s']:,.0f} | {stage['peak_share']:.1%}"
        lines.append(f"| {name} | {rates} | {stage['memory_gb']:.1f} | {stage['idle_share']:.0%} |")
    return lines


def _visible_gpu() -> str:
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0] or "0"


# -- models and text ---------------------------------------------------------------------------------------------------


def _write_model(folder: Path, size: Size, rows: int, dtype: str) -> None:
    """EmbeddingGemma's modules with random weights, and a tokenizer that knows one word a token."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
    from transformers import Gemma3TextConfig, Gemma3TextModel, PreTrainedTokenizerFast
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()

    config = Gemma3TextConfig(
        vocab_size=rows,
        hidden_size=size.hidden,
        intermediate_size=size.inner,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=1,
        head_dim=size.head,
        max_position_embeddings=size.longest,
        sliding_window=512,
        use_bidirectional_attention=True,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    )
    torch.manual_seed(SEED)
    with tempfile.TemporaryDirectory() as name:
        transformer = Path(name)
        Gemma3TextModel(config).to(getattr(torch, dtype)).save_pretrained(transformer)
        tokenizer = _tokenizer(rows)
        roles = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"}
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles).save_pretrained(transformer)
        identity = torch.nn.Identity()
        modules = [
            Transformer(str(transformer), max_seq_length=size.longest, model_kwargs={"dtype": getattr(torch, dtype)}),
            Pooling(size.hidden),
            Dense(size.hidden, 4 * size.hidden, bias=False, activation_function=identity),
            Dense(4 * size.hidden, size.hidden, bias=False, activation_function=identity),
            Normalize(),
        ]
        SentenceTransformer(modules=modules, device="cpu").save(str(folder), create_model_card=False)


def _tokenizer(rows: int) -> Tokenizer:
    words = [*_SPECIAL, *(f"w{number}" for number in range(rows - len(_SPECIAL)))]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 2), ("<eos>", 1)]
    )
    return tokenizer


def _write_mapping(path: Path, rows: int) -> None:
    ids = np.arange(rows, dtype=np.int32)
    one = pa.array(np.ones(rows, np.float32))
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32))
    columns = [pa.array(ids), pa.ListArray.from_arrays(offsets, pa.array(ids)), pa.ListArray.from_arrays(offsets, one)]
    write_table(path, pa.table(columns, schema=MAPPING), Manifest("mapping", facts={"new_rows": []}))


def _held_out(size: Size) -> int:
    return min(1_000, size.passages // 20)


def _write_corpus(path: Path, size: Size) -> None:
    draw = np.random.default_rng(SEED)
    words = size.clone_rows - len(_SPECIAL)
    texts = [" ".join(f"w{word}" for word in draw.integers(words, size=length - 2)) for length in size.lengths()]
    held_out = _held_out(size)
    splits = ["train"] * (len(texts) - held_out) + ["validation"] * held_out
    ids = [f"{_LANGUAGE}{number}#0" for number in range(len(texts))]
    columns = [ids, [_LANGUAGE] * len(texts), texts, splits, pa.nulls(len(texts), pa.string())]
    facts = {"passages": {"train": len(texts) - held_out, "validation": held_out, "test": 0}}
    write_table(path, pa.table(columns, schema=CORPUS), Manifest("corpus", facts=facts))


if __name__ == "__main__":
    main()
