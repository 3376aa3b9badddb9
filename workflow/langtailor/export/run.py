"""Export a student to one format, and certify it.

The folder is the student's without the transformer's weights, with the format's file in its place, and ``certificate.json``.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langtailor.config.export import Bounds
from langtailor.config.teacher import TeacherSettings
from langtailor.corpus.reading import read_texts
from langtailor.errors import ExportError
from langtailor.evaluation.comparison import difference
from langtailor.evaluation.encoding import encode_texts
from langtailor.evaluation.run import run_task
from langtailor.evaluation.scores import Evaluation
from langtailor.evaluation.task import EvaluationTask, Inputs
from langtailor.export.certificate import KIND, SCRIPT_TEXTS, Certificate, ClientSpeed, Cosines, TaskFigure
from langtailor.export.description import describe
from langtailor.export.evaluator import ExportEvaluator
from langtailor.export.format import Format, Source, find_format
from langtailor.export.scripts import texts_in_many_scripts
from langtailor.export.speed import measure
from langtailor.models.loading import load_teacher
from langtailor.storage.artifacts import (
    Manifest,
    atomic_directory,
    directory_digest,
    read_manifest,
    seal_directory,
    write_json,
)
from langtailor.storage.atomic import scratch_directory

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_LOG = logging.getLogger("langtailor")
#: Texts of a language to choose by, to certify on, and to time.
_CHOSEN_BY, _CERTIFIED_ON, _TIMED = 50, 200, 256


@dataclass(frozen=True)
class Request:
    """What to export and how it is judged.

    Attributes:
        student: the student's folder (kind ``student``).
        format: name of the format.
        bounds: how near the export has to be.
        teacher: how the teacher is read; the student is read the same way.
        corpora: corpus by language: cosines are measured on its test split, choices made on its validation split.
        tasks: evaluation tasks by name; those that need more than vectors are left out.
        inputs: what the tasks read.
        scores: folder of the student's own scores.
        resamples: bootstrap resamples for each interval.
        seed: seeds the bootstrap.
        threads: of the job.
    """

    student: Path
    format: str
    bounds: Bounds
    teacher: TeacherSettings
    corpora: Mapping[str, Path]
    tasks: Mapping[str, EvaluationTask]
    inputs: Inputs
    scores: Path
    resamples: int
    seed: int
    threads: int


def export_student(request: Request, out: Path) -> None:
    """Write an export with its certificate.

    Args:
        request: what to export.
        out: the folder (kind ``export``). An export that breaks a bound is kept next to it, with ``.refused`` added to
            its name.

    Raises:
        ExportError: the model cannot be exported, or the export is too far from it.
    """
    read_manifest(request.student, "student")
    refused = out.with_name(f"{out.name}.refused")
    shutil.rmtree(refused, ignore_errors=True)
    with scratch_directory(out) as scratch:
        folder = scratch / "export"
        certificate = _write(request, folder, scratch)
        write_json(folder / "certificate.json", KIND, certificate.to_json())
        describe(folder, find_format(request.format), certificate)
        broken = certificate.broken()
        made_by = {"format": request.format, "bounds": vars(request.bounds), "tasks": sorted(request.tasks)}
        manifest = Manifest("export", made_by, {"student": directory_digest(request.student)}, {"broken": broken})
        with atomic_directory(refused if broken else out) as place:
            shutil.copytree(folder, place, dirs_exist_ok=True)
            seal_directory(place, manifest)
    if broken:
        raise ExportError(
            f"{request.format} is too far from the student: {'; '.join(broken)}. {refused} has it with all figures; lower "
            "the bounds under `export` to accept it, or use another format"
        )


def _write(request: Request, folder: Path, scratch: Path) -> Certificate:
    """Fill the folder and measure it, in each of the format's ways until one keeps all bounds."""
    made = find_format(request.format)
    settings = request.teacher.model_copy(update={"dtype": "float32"})
    model = load_teacher(request.student, settings, "cpu")

    def evaluator() -> ExportEvaluator:
        file = folder / made.file
        opened = partial(made.client(), file, folder, threads=1)
        return ExportEvaluator(request.student, model, file, made, opened, settings, request.resamples, request.seed)

    prompt, chosen_by = evaluator().prompt, _chosen_by(request)
    source = Source(request.student, model, prompt, request.bounds, chosen_by, scratch, request.corpora)
    refused: list[str] = []
    for facts in write_export(made, source, folder):
        said = {**facts, "refused": refused} if refused else facts
        certificate = _Measurement(request, made, folder, model, evaluator(), scratch).certificate(said)
        if not certificate.broken():
            break
        refused += certificate.broken()
        _LOG.warning("%s is too far from the student: %s", request.format, "; ".join(certificate.broken()))
    return certificate


def write_export(made: Format, source: Source, folder: Path) -> Iterator[dict[str, Any]]:
    """Fill an export's folder: the student's files, with the format's in place of the weights.

    Args:
        made: the format.
        source: the student.
        folder: the export's, which must not exist.

    Yields:
        What the certificate says besides the figures, each time that the file was written: each time nearer to the
        student. Nothing may have the file open when the next one is asked for.

    Raises:
        ExportError: the format cannot hold the model.
    """
    made.prepare(source, folder)
    file = folder / made.file
    file.parent.mkdir(exist_ok=True)
    yield from made.write(source, file)


def _chosen_by(request: Request) -> list[str]:
    """Texts that choices are made by: of the validation split, which a run without text does not have."""
    texts = [text for corpus in request.corpora.values() for text in read_texts(corpus, "validation", _CHOSEN_BY)]
    return texts or texts_in_many_scripts()


@dataclass(frozen=True)
class _Measurement:
    """What is measured of a written export.

    Attributes:
        request: what was exported and how it is judged.
        made: the format.
        folder: the export's.
        model: the student.
        evaluator: evaluates the export.
        scratch: a folder for what is needed on the way.
    """

    request: Request
    made: Format
    folder: Path
    model: SentenceTransformer
    evaluator: ExportEvaluator
    scratch: Path

    def certificate(self, facts: Mapping[str, Any]) -> Certificate:
        """All figures, with what the format has to say."""
        texts = self._texts()
        everything = [text for some in texts.values() for text in some]
        tasks = {name: self._task(name) for name in sorted(self.request.tasks)}
        speed, student_speed = self._speeds(everything[:_TIMED])
        return Certificate(
            bounds=self.request.bounds,
            texts=len(everything),
            other_ids=self._other_ids(everything) if self.made.reads_as_student else 0,
            cosines={name: self._cosines(some, name) for name, some in texts.items()},
            tasks={name: figure for name, figure in tasks.items() if figure is not None},
            bytes=sum(file.stat().st_size for file in self.made.files(self.folder / self.made.file)),
            student_bytes=sum(file.stat().st_size for file in self.request.student.rglob("*.safetensors")),
            speed=speed,
            student_sentences_per_s=student_speed,
            inputs=self.evaluator.client.inputs,
            facts=facts,
        )

    def _texts(self) -> dict[str, list[str]]:
        """Texts of the test split by language, and those in many scripts."""
        corpora = sorted(self.request.corpora.items())
        texts = {lang: read_texts(corpus, "test", _CERTIFIED_ON) for lang, corpus in corpora}
        texts = {lang: some for lang, some in texts.items() if some}
        if self.made.reads_as_student or not texts:  # random words tell ids apart, and nothing else
            texts[SCRIPT_TEXTS] = texts_in_many_scripts()
        return texts

    def _cosines(self, texts: Sequence[str], label: str) -> Cosines:
        """Cosines of the export's vectors of some texts to the student's."""
        exported = encode_texts(self.evaluator.model, texts, self.evaluator.text_before(None), f"{label}, export")
        student = encode_texts(self.model, texts, self.evaluator.prompt, f"{label}, student")
        return Cosines.between(exported, self.made.compared(student))

    def _other_ids(self, texts: Sequence[str]) -> int:
        """Texts to which what other programs read gives other ids than the student's library."""
        prompt = self.evaluator.prompt
        others = self.evaluator.client.ids([prompt + text for text in texts])
        return sum(
            self.model.preprocess([text], prompt=prompt or None)["input_ids"][0].tolist() != ids
            for text, ids in zip(texts, others, strict=True)
        )

    def _task(self, name: str) -> TaskFigure | None:
        """A task's main figure with the student's; nothing if the task needs more than vectors, or the teacher's space."""
        request, task = self.request, self.request.tasks[name]
        if not self.made.is_judged_by(task, list(request.inputs.corpora)):
            return None
        student = Evaluation.read(request.scores / f"{name}.json")
        export = run_task(name, task, self.evaluator, request.inputs, self.scratch / f"{name}.json")
        paired = difference(export, student, student.main, request.resamples, request.seed)
        return TaskFigure(student.main.metric, student.main.value, export.main.value, paired)

    def _speeds(self, texts: Sequence[str]) -> tuple[list[ClientSpeed], dict[str, float]]:
        """Of the export and of the student, in turn, with one thread and with all that the job has."""
        import torch

        sentences = sorted((self.evaluator.prompt + text for text in texts), key=len, reverse=True)
        file = self.scratch / "texts.json"
        file.write_text(json.dumps(sentences), encoding="utf-8")
        speeds, student, before = [], {}, torch.get_num_threads()
        for threads in sorted({1, min(self.request.threads, os.cpu_count() or 1)}):
            speeds.append(measure(self.made, self.folder / self.made.file, self.folder, file, threads))
            torch.set_num_threads(threads)
            started = time.perf_counter()
            self.model.encode(sentences, batch_size=32, prompt="", show_progress_bar=False)
            student[str(threads)] = round(len(sentences) / (time.perf_counter() - started), 1)
        torch.set_num_threads(before)
        return speeds, student
