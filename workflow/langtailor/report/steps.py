"""First section of a variant: what each step from the teacher to the student costs and brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langtailor.config.variants import STEPS
from langtailor.evaluation.comparison import Comparison, Difference
from langtailor.models.folder import ModelInfo
from langtailor.report.formats import figure, millions, two_decimals
from langtailor.report.scores import FERTILITY, main_rows
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
    """A row a step.

    Attributes:
        columns: names of the columns.
        rows: name of the step and its cells.
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
        variant, _, model = models[step].partition("/")
        places = {
            "clone": root / "clone" / variant,
            "reduced": root / "reduction" / variant / "model",
            "student": root / "distillation" / variant / "model",
        }
        folders[step] = places[model]
    return folders


def clone_name(models: Mapping[str, str]) -> str:
    """The variant under whose name a variant's vocabulary, tokenizer and clone lie; ``models`` as above."""
    return models.get("grafted", models["cut"]).partition("/")[0]


def step_table(
    root: Path, models: Mapping[str, str], comparisons: Sequence[Comparison], targets: Sequence[str]
) -> StepTable:
    """Tokens, parameters, bytes, tokens a word of the target languages and the main figure of each task, by step.

    Args:
        root: the run's folder.
        models: as for :func:`model_folders`.
        comparisons: the variant's evaluation.
        targets: target languages.
    """
    tasks = [row for row in main_rows(comparisons) if row.metric != FERTILITY]
    columns = ["tokens", "parameters", "weights", *(f"tokens a word, {lang}" for lang in targets)]
    rows = []
    for step, folder in model_folders(root, models).items():
        info, words = ModelInfo.read(folder), _tokens_per_word(root, step, models)
        cells = [
            Cell(f"{info.vocabulary_size:,}"),
            Cell(millions(info.parameters)),
            Cell(f"{info.weight_bytes / 1e6:,.1f} MB"),
            *(Cell(two_decimals(words[lang])) for lang in targets),
            *(_score(row, step) for row in tasks),
        ]
        rows.append((STEPS[step], cells))
    return StepTable([*columns, *(f"{row.task}: {row.metric}" for row in tasks)], rows)


def _tokens_per_word(root: Path, step: str, models: Mapping[str, str]) -> dict[str, Any]:
    """Tokens per word on the validation split, by language, as the certificate of the step's tokenizer has it."""
    variant = models["cut" if step == "teacher" else step].partition("/")[0]
    certificate = read_json(root / "tokenizer" / variant / "certificate.json", "certificate")
    key = "teacher" if step == "teacher" else "new"
    return {lang: facts["tokens_per_word"][key] for lang, facts in certificate["languages"].items()}


def _score(row: Comparison, step: str) -> Cell:
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
