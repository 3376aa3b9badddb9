"""First section of the page: what a variant is, what it keeps of the teacher and what it lost, in a few sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langtailor.evaluation.comparison import Comparison, main_rows
from langtailor.evaluation.neighbourhood import NEIGHBOURS
from langtailor.models.folder import ModelInfo
from langtailor.report.formats import figure, millions
from langtailor.report.scores import AGREEMENT, FERTILITY, SPEED
from langtailor.student.retention import retained

#: More losses than this are counted instead of named.
_MOST_NAMED = 4
#: The same of tasks.
_MOST_TASKS = 6


@dataclass(frozen=True)
class Summary:
    """What a reader wants to know first.

    Attributes:
        what: what the variant is, how much smaller and faster, what it keeps of each task; follows its name.
        lost: whether a kept language or a task lost significantly.
        any_lost: whether one did.
    """

    what: str
    lost: str
    any_lost: bool


@dataclass(frozen=True)
class VariantFacts:
    """What a summary tells of a variant besides its evaluation.

    Attributes:
        teacher_name: the teacher's name.
        teacher: what the teacher's folder says.
        base_name: the name of the model that the student is made of.
        base: what its folder says: the teacher's, or that of another encoder.
        student: what the student's says.
        new_tokens: tokens of the student that the base model does not have.
        reduction: what the student has less of, as the manifest of the reduced clone says; empty where it has no less.
        trained: whether the student was trained.
        words: tokens per word of the target languages, those of teacher and student.
    """

    teacher_name: str
    teacher: ModelInfo
    base_name: str
    base: ModelInfo
    student: ModelInfo
    new_tokens: int
    reduction: Mapping[str, Any]
    trained: bool
    words: Mapping[str, tuple[float | None, float | None]]


def summarise(facts: VariantFacts, comparisons: Sequence[Comparison]) -> Summary:
    """The summary of one variant.

    Args:
        facts: the models.
        comparisons: the variant's evaluation.
    """
    what = f"{_origin(facts)} {_costs(facts, comparisons)} {_kept(comparisons)} {_farthest(comparisons)}"
    lost = _lost(comparisons)
    return Summary(" ".join(what.split()), lost or _nothing_lost(comparisons), bool(lost))


def _origin(facts: VariantFacts) -> str:
    kept = facts.student.vocabulary_size - facts.new_tokens
    new = f" and {facts.new_tokens:,} new ones" if facts.new_tokens else ""
    parts = [f"{kept:,} of its {facts.base.vocabulary_size:,} tokens{new}", *_reductions(facts)]
    whose = "its vectors" if facts.base is facts.teacher else f"the vectors of {facts.teacher_name}"
    trained = f"trained on {whose}" if facts.trained else "not trained"
    return f"is {facts.base_name} with {_listed(parts)}, {trained}."


def _reductions(facts: VariantFacts) -> list[str]:
    """What the student has fewer of besides tokens."""
    parts = []
    layers = facts.reduction.get("layers")
    if layers is not None and len(layers) < facts.reduction["teacher_layers"]:
        parts.append(f"{len(layers)} of its {facts.reduction['teacher_layers']} layers")
    if facts.reduction.get("dimensions") is not None:
        parts.append(f"{facts.student.dimension} dimensions instead of {facts.base.dimension}")
    return parts


def _costs(facts: VariantFacts, comparisons: Sequence[Comparison]) -> str:
    old, new = facts.teacher.parameters, facts.student.parameters
    costs = [f"has {new / old:.0%} of the parameters ({millions(new)} of {millions(old)})".replace("%", " %")]
    speeds = [row for row in main_rows(comparisons) if row.metric == SPEED]
    costs += [f"encodes {_times(row):.1f} times as many passages per second" for row in speeds[:1]]
    for lang, (before, after) in facts.words.items():
        if before and after:
            costs.append(f"needs {after:.2f} tokens per word in {lang} instead of {before:.2f}")
    return f"It {_listed(costs)}."


def _times(row: Comparison) -> float:
    return row.scores[row.student].value / row.scores["teacher"].value


def _kept(comparisons: Sequence[Comparison]) -> str:
    """What each task's main figure retains; if that share says nothing, the figures before and after."""
    rows = [row for row in main_rows(comparisons) if row.metric not in (FERTILITY, SPEED)]
    shares = {row.task: share for row in rows if (share := retained(row)) is not None}
    moved = [row for row in rows if row.task not in shares]
    sentences = []
    if len(shares) > _MOST_TASKS:
        least = min(shares, key=shares.__getitem__)
        mean = sum(shares.values()) / len(shares)
        sentences.append(
            f"It keeps {mean:.1f} % of the teacher over {len(shares)} tasks, least on {least} ({shares[least]:.1f} %)."
        )
    elif shares:
        sentences.append(f"It keeps {_listed([f'{share:.1f} % on {task}' for task, share in shares.items()])}.")
    if moved:
        sentences.append(f"It goes {_listed([_move(row) for row in moved[:_MOST_TASKS]])}.")
    return " ".join(sentences)


def _move(row: Comparison) -> str:
    before, after = row.scores["teacher"].value, row.scores[row.student].value
    return f"from {figure(before)} to {figure(after)} on {row.task} ({row.metric})"


def _is_reference(row: Comparison) -> bool:
    """Whether the teacher is compared with itself, so that any other model is worse."""
    teacher = row.scores["teacher"].value
    return (row.metric, teacher) == (AGREEMENT, 1) or (row.group, teacher) == (NEIGHBOURS, 100)


def _is_lost(row: Comparison) -> bool:
    difference = row.to_teacher.get(row.student)
    if difference is None or difference.is_noise or _is_reference(row) or row.metric in (FERTILITY, SPEED):
        return False
    return (difference.value < 0) != row.less_is_better


def _lost(comparisons: Sequence[Comparison]) -> str:
    """The sentences on what was lost; empty where nothing was lost."""
    losses = sorted(filter(_is_lost, comparisons), key=_share)
    harmed = [row for row in comparisons if row.student in row.harmful and row not in losses]
    worse = {"the teacher": losses, "the model that is only cut": harmed}
    return " ".join(
        f"It is significantly worse than {other} on {_named(rows)}." for other, rows in worse.items() if rows
    )


def _nothing_lost(comparisons: Sequence[Comparison]) -> str:
    if any(row.student in row.to_teacher and not _is_reference(row) for row in comparisons):
        return "No kept language and no task lost more than noise."
    return "The tasks of this run cannot say whether quality was lost; add one of the kind sts, bitext or retrieval."


def _farthest(comparisons: Sequence[Comparison]) -> str:
    """The language whose vectors moved most, and what that does to neighbours, if the teacher is compared with itself."""
    rows = {row.group: row.scores[row.student].value for row in comparisons if _is_reference(row) and row.group}
    neighbours = rows.pop(NEIGHBOURS, None)
    if not rows:
        return ""
    least = min(rows, key=rows.__getitem__)
    said = f"Its vectors are farthest from the teacher's in {least} (cosine {figure(rows[least])})"
    return f"{said}." if neighbours is None else f"{said}; {neighbours:.1f} % of nearest neighbours are the teacher's."


def _named(losses: Sequence[Comparison]) -> str:
    named = [_loss(row) for row in losses[:_MOST_NAMED]]
    return _listed([*named, *([f"{len(losses) - len(named)} more"] if len(losses) > len(named) else [])])


def _loss(row: Comparison) -> str:
    group = f" ({row.group})" if row.group else ""
    return f"{row.task}{group}"


def _share(row: Comparison) -> Any:
    """What a loss leaves, so that the worst comes first."""
    teacher = row.scores["teacher"].value
    return row.scores[row.student].value / teacher if teacher > 0 and not row.less_is_better else 1.0


def _listed(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a; b and c``."""
    return " and ".join(filter(None, ["; ".join(parts[:-1]), parts[-1]])) if parts else ""
