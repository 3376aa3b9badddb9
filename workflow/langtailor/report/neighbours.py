"""Section of the page: nearest neighbours, for the teacher and for the student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from langtailor.evaluation.comparison import Comparison
from langtailor.evaluation.neighbourhood import NEIGHBOURS, Neighbourhood
from langtailor.evaluation.scores import Evaluation
from langtailor.report import plots
from langtailor.report.formats import beginning
from langtailor.report.plots import Plot

#: Passages whose neighbours are listed.
_LISTED = 6
#: Languages with a colour of their own on the map.
_COLOURED = 7
#: Characters of a passage that are shown.
_LONGEST = 140


@dataclass(frozen=True)
class Neighbour:
    """A passage near another: its language, its beginning, and whether it is among the other model's nearest as well."""

    lang: str
    text: str
    shared: bool


@dataclass(frozen=True)
class Neighbours:
    """A passage, and what is nearest to it for each of the two models."""

    lang: str
    text: str
    teacher: Sequence[Neighbour]
    student: Sequence[Neighbour]


@dataclass(frozen=True)
class NeighbourPart:
    """What the page says of the neighbours in one variant's space.

    Attributes:
        map: the passages on a plane, for the teacher and for the student.
        passages: some of them with their nearest others.
    """

    map: Plot
    passages: Sequence[Neighbours]


def read_neighbours(folder: Path, comparisons: Sequence[Comparison], targets: Sequence[str]) -> NeighbourPart | None:
    """The section of one variant; nothing where no task has compared neighbours.

    Args:
        folder: the student's scores.
        comparisons: the variant's evaluation.
        targets: target languages, which come first.

    Raises:
        ArtifactError: a result is damaged.
    """
    task = next((row.task for row in comparisons if row.group == NEIGHBOURS), None)
    compared = Evaluation.read(folder / f"{task}.json").neighbourhood if task else None
    if compared is None:
        return None
    return NeighbourPart(_map(compared, targets), [_neighbours(compared, row) for row in _listed(compared, targets)])


def _listed(compared: Neighbourhood, targets: Sequence[str]) -> list[int]:
    """Rows of the passages that are listed: one a language in turn, the target languages first."""
    rows: dict[str, list[int]] = {}
    for row, lang in enumerate(compared.languages):
        rows.setdefault(lang, []).append(row)
    turns = [
        (turn, lang not in targets, lang, row) for lang, members in rows.items() for turn, row in enumerate(members)
    ]
    return [row for *_, row in sorted(turns)[:_LISTED]]


def _neighbours(compared: Neighbourhood, row: int) -> Neighbours:
    teacher, student = compared.teacher_nearest[row], compared.model_nearest[row]

    def near(rows: Sequence[int], other: Sequence[int]) -> list[Neighbour]:
        return [Neighbour(compared.languages[at], _shown(compared, at), at in other) for at in rows]

    shown = compared.languages[row], _shown(compared, row)
    return Neighbours(*shown, near(teacher, student), near(student, teacher))


def _shown(compared: Neighbourhood, row: int) -> str:
    text = compared.texts[row]
    start = beginning(text, _LONGEST)
    return start if start == text else f"{start} …"


def _map(compared: Neighbourhood, targets: Sequence[str]) -> Plot:
    languages = sorted(set(compared.languages), key=lambda lang: (lang not in targets, lang))
    coloured = languages if len(languages) <= _COLOURED + 1 else languages[:_COLOURED]
    names = [lang if lang in coloured else "others" for lang in compared.languages]
    series = dict.fromkeys([*coloured, *sorted(set(names))])
    members = {name: [row for row, named in enumerate(names) if named == name] for name in series}
    panels = {
        who: {name: [places[row] for row in rows] for name, rows in members.items()}
        for who, places in (("teacher", compared.teacher), ("student", compared.model))
    }
    hints = {
        name: [f"{compared.languages[row]}: {_shown(compared, row)}" for row in rows] for name, rows in members.items()
    }
    caption = (
        f"{len(compared.texts):,} test passages on the two principal components of the teacher's vectors, which hold "
        f"{100 * compared.explained:.0f} % of their variance; the student's vectors on the same axes."
    )
    return Plot(plots.panels(panels, hints), caption)
