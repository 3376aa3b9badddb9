"""The page lists the neighbours that the student's scores name, and marks those that one model alone has."""

import re

import numpy as np
import pytest

from langtailor.evaluation.comparison import Comparison
from langtailor.evaluation.neighbourhood import NEIGHBOURS, Neighbourhood
from langtailor.evaluation.scores import Evaluation, Score
from langtailor.models.similarity import unit
from langtailor.report.neighbours import Neighbour, read_neighbours
from tests.reading import texts

LANGUAGES = ("de", "en", "tr", "tr")
TEXTS = ("ein Haus", "a house", "bir ev", "uzun " * 60)
#: The same as the page has them.
SHOWN = (*TEXTS[:3], "uzun " * 28 + "…")
COMPARED = Neighbourhood(
    languages=LANGUAGES,
    texts=TEXTS,
    teacher=((0, 0), (0.1, 0), (0, 0.1), (1, 1)),
    model=((0, 0), (0.2, 0), (0, 0.2), (1, 0.5)),
    explained=0.375,
    teacher_nearest=((1, 2), (0, 2), (0, 1), (2, 1)),
    model_nearest=((2, 3), (0, 2), (1, 0), (2, 0)),
)


def part(folder, targets=("tr",), compared=COMPARED):
    score = Score("nearest kept", 50.0, None, None, 4, NEIGHBOURS)
    Evaluation("same", "agreement", "x", (score,), neighbourhood=compared).write(folder / "same.json")
    row = Comparison("same", score.metric, NEIGHBOURS, {"teacher": score, "cut": score}, {}, {})
    return read_neighbours(folder, [row], targets)


def test_target_languages_come_first_and_then_every_language_in_turn(tmp_path):
    assert [passage.lang for passage in part(tmp_path).passages] == ["tr", "de", "en", "tr"]
    assert [passage.text for passage in part(tmp_path, targets=()).passages][:3] == ["ein Haus", "a house", "bir ev"]


def test_neighbours_are_named_with_those_that_one_model_alone_has(tmp_path):
    house = part(tmp_path, targets=()).passages[0]
    assert house.teacher == [Neighbour("en", "a house", False), Neighbour("tr", "bir ev", True)]
    assert [(near.lang, near.shared) for near in house.student] == [("tr", True), ("tr", False)]
    assert house.student[1].text == SHOWN[3]


def test_the_map_has_both_models_and_says_what_its_axes_hold(tmp_path):
    plot = part(tmp_path).map
    assert {"teacher", "student", *LANGUAGES} == set(texts(plot.svg))
    assert "4 test passages" in plot.caption and "38 % of their variance" in plot.caption
    hints = re.findall(r"<use [^>]*><title>([^<]*)</title></use>", plot.svg)
    assert sorted(hints) == sorted(2 * [f"{lang}: {text}" for lang, text in zip(LANGUAGES, SHOWN, strict=True)])


@pytest.mark.parametrize(
    ("count", "shown"),
    [(8, ["l0", "l1", "l2", "l3", "l4", "l5", "l6", "l7"]), (9, ["l0", "l1", "l2", "l3", "l4", "l5", "l8", "others"])],
)
def test_of_many_languages_some_share_a_colour(tmp_path, count, shown):
    languages = tuple(f"l{number}" for number in range(count))
    vectors = unit(np.random.default_rng(1).normal(size=(count, 4)).astype(np.float32))
    many = Neighbourhood.of([(lang, "text") for lang in languages], vectors, vectors)
    drawn = texts(part(tmp_path, ["l8"], many).map.svg)
    assert sorted(drawn) == sorted(["teacher", "student", *shown])


def test_without_a_task_that_compares_neighbours_there_is_no_section(tmp_path):
    assert read_neighbours(tmp_path, [], ["tr"]) is None
