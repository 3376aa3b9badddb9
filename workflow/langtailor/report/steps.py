"""First section of a variant: what each step from the teacher to the student costs and brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langtailor.config.variants import STEPS
from langtailor.evaluation.comparison import Comparison, Difference, main_rows
from langtailor.export.certificate import KIND as EXPORT_CERTIFICATE
from langtailor.models.folder import ModelInfo
from langtailor.report.formats import figure, millions, two_decimals
from langtailor.report.scores import FERTILITY
from langtailor.storage.artifacts import read_json


@dataclass(frozen=True)
class Cell:
    """A cell of the table.

    Attributes:
        value: the figure.
        note: its difference to the teacher, with the paired interval; empty where there is none.
        tone: ``good``, ``bad``, or empty where the difference is noise.
    """

    value: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True)
class StepTable:
    """A column a step, and one an export.

    Attributes:
        columns: names of the steps and exports.
        rows: what is measured, and a cell for each column.
    """

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]


def model_folders(root: Path, models: Mapping[str, str]) -> dict[str, Path]:
    """The model of each step.

    Args:
        root: the run's folder.
        models: folder of the scores by step (:meth:`langtailor.config.run.Settings.compared`).
    """
    folders = {"teacher": root / "teacher" / "model"}
    for step in list(models)[1:]:
        variant = models[step].partition("/")[0]
        folders[step] = {
            "base": root / "base" / "model",
            "cut": root / "clone" / variant,
            "grafted": root / "clone" / variant,
            "reduced": root / "reduction" / variant / "model",
            "mapped": root / "reduction" / variant / "model",
            "trained": root / "distillation" / variant / "model",
            "retrieval": root / "retrieval" / "students" / variant / "model",
        }[step]
    return folders


def clone_name(models: Mapping[str, str]) -> str:
    """The variant under whose name a variant's vocabulary, tokenizer and clone are stored; ``models`` as above."""
    return models.get("grafted", models["cut"]).partition("/")[0]


def step_table(
    root: Path,
    models: Mapping[str, str],
    comparisons: Sequence[Comparison],
    targets: Sequence[str],
    exports: Mapping[str, Path],
) -> StepTable:
    """Tokens, parameters, bytes, tokens per word of the target languages and the main figure of each task, by step.

    Args:
        root: the run's folder.
        models: as for :func:`model_folders`.
        comparisons: the variant's evaluation.
        targets: target languages.
        exports: folder of each export by format.
    """
    tasks = [row for row in main_rows(comparisons) if row.metric != FERTILITY]
    labels = ["tokens", "parameters", "of these, token embeddings", "weights"]
    labels += [f"tokens per word, {lang}" for lang in targets]
    labels += [f"{row.task}: {row.metric}" for row in tasks]
    infos = {step: ModelInfo.read(folder) for step, folder in model_folders(root, models).items()}
    words = {step: _words(root, step, models, targets) for step in infos}
    columns = {
        STEPS[step]: [*_sizes(info), *words[step], *(_score(row, step) for row in tasks)]
        for step, info in infos.items()
    }
    student = list(infos)[-1]
    for name, folder in exports.items():
        certificate = read_json(folder / "certificate.json", EXPORT_CERTIFICATE)
        sizes = [_tokens(infos[student]), Cell(""), Cell(""), Cell(_megabytes(certificate["bytes"]))]
        scores = (_exported(certificate["tasks"].get(row.task)) for row in tasks)
        columns[name] = [*sizes, *words[student], *scores]
    return StepTable(list(columns), list(zip(labels, zip(*columns.values(), strict=True), strict=True)))


def _sizes(info: ModelInfo) -> list[Cell]:
    table = info.vocabulary_size * info.hidden_size
    sizes = millions(info.parameters), millions(table), _megabytes(info.weight_bytes)
    return [_tokens(info), *map(Cell, sizes)]


def _tokens(info: ModelInfo) -> Cell:
    return Cell(f"{info.vocabulary_size:,}")


def _words(root: Path, step: str, models: Mapping[str, str], targets: Sequence[str]) -> list[Cell]:
    words = tokens_per_word(root, step, models)
    return [Cell(two_decimals(words[lang])) for lang in targets]


def _exported(figures: Mapping[str, Any] | None) -> Cell:
    return Cell("" if figures is None else figure(figures["export"]))


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


def tokens_per_word(root: Path, step: str, models: Mapping[str, str]) -> dict[str, Any]:
    """Tokens per word on the validation split, by language, as the certificate of the step's tokenizer has it.

    It does not have those of a teacher of which the student is not made: these are ``None``.
    """
    whole = first_step(models)
    variant = models["cut"].partition("/")[0] if step in ("teacher", "base", "cut") else clone_name(models)
    certificate = read_json(root / "tokenizer" / variant / "certificate.json", "certificate")
    key = "teacher" if step == whole else "new"
    words = {lang: facts["tokens_per_word"][key] for lang, facts in certificate["languages"].items()}
    return dict.fromkeys(words) if step == "teacher" != whole else words


def first_step(models: Mapping[str, str]) -> str:
    """The step whose vocabulary is cut: the teacher, or another encoder; ``models`` as above."""
    return "base" if "base" in models else "teacher"


def _score(row: Comparison, step: str) -> Cell:
    if step not in row.scores:
        return Cell("")
    difference = row.to_teacher.get(step)
    value = figure(row.scores[step].value)
    return Cell(value, _interval(difference), _tone(difference, row.less_is_better)) if difference else Cell(value)


def _interval(difference: Difference) -> str:
    if difference.low is None or difference.high is None:
        return f"{difference.value:+.3g}"
    return f"{difference.value:+.3g} ({difference.low:+.3g} to {difference.high:+.3g})"


def _tone(difference: Difference, less_is_better: bool) -> str:
    if difference.is_noise:
        return ""
    return "good" if (difference.value > 0) != less_is_better else "bad"
