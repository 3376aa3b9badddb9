"""Whether an export is the student: its ids, its vectors, the run's tasks; and what it costs to run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langtailor.config.export import Bounds
from langtailor.evaluation.comparison import Difference

_LOG = logging.getLogger("langtailor")
KIND = "export certificate"
#: Name of the texts in many scripts among the languages. They are random words: of these ids have to agree, not vectors.
SCRIPT_TEXTS = "scripts"


@dataclass(frozen=True)
class Cosines:
    """Cosines of an export's vectors to the student's own, of one language or kind of text."""

    mean: float
    least: float
    texts: int

    @classmethod
    def between(cls, export: NDArray[np.float32], student: NDArray[np.float32]) -> Cosines:
        """Row by row; both float32, shape (n, d), n over 0."""
        lengths = np.linalg.norm(export, axis=1) * np.linalg.norm(student, axis=1)
        cosines = (export * student).sum(axis=1) / np.maximum(lengths, 1e-12)
        return cls(round(float(cosines.mean()), 6), round(float(cosines.min()), 6), len(cosines))

    def keep(self, bounds: Bounds) -> bool:
        """Whether they are as high as bounds ask."""
        return self.mean >= bounds.mean_cosine and self.least >= bounds.least_cosine


@dataclass(frozen=True)
class ClientSpeed:
    """How an export runs in a process of its own.

    Attributes:
        threads: of each call.
        sentences_per_s: in batches of 32 of similar length.
        latency_ms: median milliseconds of a single sentence.
        latency_95_ms: their 95th percentile.
        load_s: seconds until the file is open.
        memory_mb: most memory of the process.
    """

    threads: int
    sentences_per_s: float
    latency_ms: float
    latency_95_ms: float
    load_s: float
    memory_mb: float


@dataclass(frozen=True)
class TaskFigure:
    """The main figure of a task: the student's, the export's, and the paired difference where the task keeps items."""

    metric: str
    student: float
    export: float
    difference: Difference | None


@dataclass(frozen=True)
class Certificate:
    """What was measured of an export.

    Attributes:
        bounds: how near it has to be.
        texts: texts whose ids were compared.
        other_ids: of these, with other ids by what reads the export than by the student's library: must be none.
        cosines: by language, and ``scripts`` for texts in many scripts.
        tasks: by name.
        bytes: of the export's file, or files.
        student_bytes: of the student's weights, as they are stored.
        speed: of the export in processes of their own, with one thread and with all.
        student_sentences_per_s: of the student under torch, by threads.
        inputs: names of what the export reads.
        facts: what the format has to say, such as which products are exact.
    """

    bounds: Bounds
    texts: int
    other_ids: int
    cosines: Mapping[str, Cosines]
    tasks: Mapping[str, TaskFigure]
    bytes: int
    student_bytes: int
    speed: Sequence[ClientSpeed]
    student_sentences_per_s: Mapping[str, float]
    inputs: Sequence[str]
    facts: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain data, with what is broken."""
        return {**asdict(self), "broken": self.broken()}

    def broken(self) -> list[str]:
        """A sentence for each promise that does not hold."""
        broken = [f"{self.other_ids} of {self.texts} texts have other token ids"] if self.other_ids else []
        for name, cosines in self.cosines.items():
            if name == SCRIPT_TEXTS:
                continue
            if not cosines.mean >= self.bounds.mean_cosine:
                broken.append(f"{name}: mean cosine {cosines.mean:.5f}, required: at least {self.bounds.mean_cosine}")
            if not cosines.least >= self.bounds.least_cosine:
                broken.append(
                    f"{name}: least cosine {cosines.least:.5f}, required: at least {self.bounds.least_cosine}"
                )
        for name, task in self.tasks.items():
            if task.metric == "spearman" and not task.export >= task.student - self.bounds.points:
                broken.append(
                    f"{name}: {task.export:.2f} after the student's {task.student:.2f}, "
                    f"a drop of at most {self.bounds.points} is allowed"
                )
        return broken
