"""Export a student to one format, and certify it.

The folder is the student's without the transformer's weights, with the graph in ``onnx/`` where sentence-transformers,
transformers.js and text-embeddings-inference look for it, and ``certificate.json``.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from langtailor.config.export import Bounds
from langtailor.config.teacher import TeacherSettings
from langtailor.corpus.reading import read_texts
from langtailor.errors import ExportError
from langtailor.evaluation.comparison import difference
from langtailor.evaluation.encoding import encode_texts
from langtailor.evaluation.run import run_task
from langtailor.evaluation.scores import Evaluation
from langtailor.evaluation.task import EvaluationTask, Inputs
from langtailor.export.certificate import KIND, SCRIPTS, Certificate, ClientSpeed, Cosines, TaskFigure
from langtailor.export.client import measure
from langtailor.export.description import describe
from langtailor.export.graph import write_graph
from langtailor.export.quantization import products, quantize
from langtailor.export.runtime import GraphEvaluator, GraphModel
from langtailor.export.scripts import texts_in_many_scripts
from langtailor.models.loading import load_teacher
from langtailor.storage.artifacts import (
    MANIFEST_NAME,
    SNAKEMAKE_MARK,
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
#: The graph's file by format: names by which sentence-transformers and transformers.js (`dtype`) find it.
GRAPHS = {
    "onnx": "onnx/model.onnx",
    "onnx-int8": "onnx/model_quantized.onnx",
    "onnx-int8-weights": "onnx/model_int8_weights.onnx",
}
#: Shares of the products, from the first on, whose arithmetic stays in float32 where the bounds ask for it.
_EXACT_SHARES = (0.0, 0.25, 0.5, 0.75)
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
        resamples: bootstrap resamples behind each interval.
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
        out: the folder (kind ``export``). An export that breaks a bound is kept beside it, with ``.refused`` to its name.

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
        describe(folder, request.format, GRAPHS[request.format], certificate.inputs)
        broken = certificate.broken()
        made_by = {"format": request.format, "bounds": vars(request.bounds), "tasks": sorted(request.tasks)}
        manifest = Manifest("export", made_by, {"student": directory_digest(request.student)}, {"broken": broken})
        with atomic_directory(refused if broken else out) as place:
            shutil.copytree(folder, place, dirs_exist_ok=True)
            seal_directory(place, manifest)
    if broken:
        raise ExportError(
            f"{request.format} is too far from the student: {'; '.join(broken)}. {refused} holds it, with all figures; lower "
            "the bounds under `export` to accept it, or take another format"
        )


def _write(request: Request, folder: Path, scratch: Path) -> Certificate:
    """Fill the folder and measure it."""
    _copy_student(request.student, folder)
    graph = folder / GRAPHS[request.format]
    graph.parent.mkdir()
    settings = request.teacher.model_copy(update={"dtype": "float32"})
    model = load_teacher(request.student, settings, "cpu")
    evaluator = GraphEvaluator(request.student, model, graph, settings, request.resamples, request.seed)
    if request.format == "onnx":
        write_graph(model, evaluator.prompt, graph)
        return _certify(request, folder, model, evaluator, {}, scratch)
    plain = scratch / "model.onnx"
    write_graph(model, evaluator.prompt, plain)
    facts = _quantize(request, model, evaluator.prompt, plain, graph)
    return _certify(request, folder, model, evaluator, facts, scratch)


def _certify(
    request: Request,
    folder: Path,
    model: SentenceTransformer,
    evaluator: GraphEvaluator,
    facts: Mapping[str, Any],
    scratch: Path,
) -> Certificate:
    prompt = evaluator.prompt
    texts = {lang: read_texts(corpus, "test", _CERTIFIED_ON) for lang, corpus in sorted(request.corpora.items())}
    texts = {lang: found for lang, found in texts.items() if found} | {SCRIPTS: texts_in_many_scripts()}
    everything = [text for found in texts.values() for text in found]
    tasks = {name: _task(request, name, evaluator, scratch) for name in sorted(request.tasks)}
    speed, student_speed = _speeds(request, model, folder, prompt, everything[:_TIMED], scratch)
    return Certificate(
        bounds=request.bounds,
        texts=len(everything),
        other_ids=_other_ids(model, folder / "tokenizer.json", prompt, everything),
        cosines={
            name: _cosines(evaluator.exported, _vectors(model, found, prompt, f"{name}, student"), found, prompt, name)
            for name, found in texts.items()
        },
        tasks={name: figure for name, figure in tasks.items() if figure is not None},
        bytes=(folder / GRAPHS[request.format]).stat().st_size,
        student_bytes=sum(file.stat().st_size for file in request.student.rglob("*.safetensors")),
        speed=speed,
        student_sentences_per_s=student_speed,
        inputs=evaluator.exported.inputs,
        facts=facts,
    )


def _copy_student(student: Path, folder: Path) -> None:
    """All files but the transformer's weights, which the graph holds, and what was sealed with them."""

    def ignored(place: str, names: list[str]) -> list[str]:
        top = Path(place) == student
        return [
            name
            for name in names
            if name in (MANIFEST_NAME, SNAKEMAKE_MARK) or (top and name.startswith("model") and "safetensors" in name)
        ]

    shutil.copytree(student, folder, ignore=ignored)


def _quantize(request: Request, model: SentenceTransformer, prompt: str, plain: Path, graph: Path) -> dict[str, Any]:
    """Write the graph in 8 bits, with as few exact products as the bounds allow."""
    names = products(plain)
    texts = [text for corpus in request.corpora.values() for text in read_texts(corpus, "validation", _CHOSEN_BY)]
    texts = texts or texts_in_many_scripts()  # a run without text has no validation split
    student = _vectors(model, texts, prompt, "validation texts, student")
    shares = _EXACT_SHARES if request.format == "onnx-int8" else (1.0,)
    tried = []
    for share in shares:
        exact = names[: round(share * len(names))]
        quantize(plain, graph, exact)
        cosines = _cosines(GraphModel(model, graph), student, texts, prompt, "validation texts")
        tried.append({"exact_share": share, "mean_cosine": cosines.mean, "least_cosine": cosines.least})
        _LOG.info(
            "%d of %d products exact: mean cosine %.5f, least %.5f", len(exact), len(names), cosines.mean, cosines.least
        )
        if cosines.mean >= request.bounds.mean_cosine and cosines.least >= request.bounds.least_cosine:
            break
    return {"products": len(names), "exact_products": len(exact), "tried": tried}


def _vectors(model: SentenceTransformer | GraphModel, texts: list[str], prompt: str, label: str) -> NDArray[np.float32]:
    return encode_texts(cast("SentenceTransformer", model), texts, prompt, label)


def _cosines(exported: GraphModel, student: NDArray[np.float32], texts: list[str], prompt: str, label: str) -> Cosines:
    """Cosines of the export's vectors of some texts to the student's, which are given."""
    return Cosines.between(_vectors(exported, texts, prompt, f"{label}, export"), student)


def _other_ids(model: SentenceTransformer, tokenizer: Path, prompt: str, texts: Sequence[str]) -> int:
    """Texts to which ``tokenizer.json`` alone, as other programs use it, gives other ids than the student's library."""
    alone = Tokenizer.from_file(str(tokenizer))
    alone.no_padding()
    differing = 0
    for text, encoding in zip(texts, alone.encode_batch([prompt + text for text in texts]), strict=True):
        features = model.preprocess([text], prompt=prompt or None)
        differing += features["input_ids"][0].tolist() != encoding.ids
    return differing


def _task(request: Request, name: str, evaluator: GraphEvaluator, scratch: Path) -> TaskFigure | None:
    """A task's main figure beside the student's; nothing for tasks that ask for more than vectors."""
    task = request.tasks[name]
    if not task.of_vectors:
        return None
    student = Evaluation.read(request.scores / f"{name}.json")
    found = run_task(name, task, evaluator, request.inputs, scratch / f"{name}.json")
    paired = difference(found, student, student.main, request.resamples, request.seed)
    return TaskFigure(student.main.metric, student.main.value, found.main.value, paired)


def _speeds(
    request: Request,
    model: SentenceTransformer,
    folder: Path,
    prompt: str,
    texts: Sequence[str],
    scratch: Path,
) -> tuple[list[ClientSpeed], dict[str, float]]:
    """Of the graph and of the student, in turn, with one thread and with all that the job has."""
    import torch

    sentences = sorted((prompt + text for text in texts), key=len, reverse=True)
    file = scratch / "texts.json"
    file.write_text(json.dumps(sentences), encoding="utf-8")
    speeds, student, before = [], {}, torch.get_num_threads()
    for threads in sorted({1, min(request.threads, os.cpu_count() or 1)}):
        speeds.append(measure(folder / GRAPHS[request.format], folder, file, threads))
        torch.set_num_threads(threads)
        started = time.perf_counter()
        model.encode(sentences, batch_size=32, prompt="", show_progress_bar=False)
        student[str(threads)] = round(len(sentences) / (time.perf_counter() - started), 1)
    torch.set_num_threads(before)
    return speeds, student
