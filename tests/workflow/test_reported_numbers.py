"""Every figure that the report and the card of a whole run show is the one of the file that it comes from."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors import safe_open

from tests.reading import Page, bars, front_matter, markdown_tables

pytestmark = pytest.mark.timeout(900)
MODELS = {
    "teacher": "teacher",
    "cut only": "tailored.cut/clone",
    "grafted": "tailored/clone",
    "trained": "tailored/student",
}


def figure(value):
    return f"{value:.3f}" if abs(value) <= 1 else f"{value:.2f}"


@pytest.fixture(scope="module")
def page(finished):
    return Page((finished.results / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def card(finished):
    return (finished.results / "student" / "tailored" / "README.md").read_text(encoding="utf-8")


def evaluations(finished, task):
    """Scores of the models, each a list in the file's order."""
    return {model: finished.json(f"evaluation/{folder}/{task}.json")["scores"] for model, folder in MODELS.items()}


def parameters(folder):
    with safe_open(folder / "model.safetensors", "np") as file:
        return sum(int(np.prod(file.get_slice(name).get_shape())) for name in file.keys())  # noqa: SIM118


def vocabulary_size(folder):
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"]


def test_the_pages_scores_are_those_of_the_evaluation(finished, page):
    expected = []
    for task in ("agreement", "bitext"):
        found = evaluations(finished, task)
        for rows in zip(*found.values(), strict=True):
            values = [f"{figure(s['value'])} / {figure(s['low'])} to {figure(s['high'])}" for s in rows]
            kept = f"{100 * rows[3]['value'] / rows[0]['value']:.1f} %" if rows[0]["value"] > 0 else ""
            expected.append([task, rows[0]["metric"], rows[0]["group"] or "", f"{rows[3]['n']:,}", *values, kept])
    assert [row[:9] for row in page.table("Scores").rows] == expected


def test_the_pages_differences_are_those_of_the_items(finished, page):
    items = {name: finished.json(f"evaluation/{path}/agreement.json")["items"] for name, path in MODELS.items()}
    rows = {row[2]: row[9:] for row in page.table("Scores").rows if row[0] == "agreement"}
    for group, found in rows.items():
        student = np.array(items["trained"][group])
        for cell, other in zip(found, ("teacher", "cut only"), strict=True):
            assert float(cell.split()[0]) == pytest.approx((student - items[other][group]).mean(), rel=5e-3)


def test_the_pages_sizes_are_those_of_the_weights(finished, page):
    teacher, student = finished.results / "teacher" / "model", finished.results / "student" / "tailored"
    sizes = page.table("Size").cells()
    before, after = vocabulary_size(teacher), vocabulary_size(student)
    old, new = (32 * rows for rows in (before, after))
    assert sizes["tokens in the vocabulary"] == [f"{before:,}", f"{after:,}", f"{after / before:.2f}"]
    assert sizes["of these, token embeddings"] == [f"{old:,}", f"{new:,}", f"{new / old:.2f}"]
    was, found = (int(cell.replace(",", "")) for cell in sizes["parameters"][:2])
    assert was - found == old - new
    assert found == parameters(student)


def test_the_pages_tokens_a_word_are_those_of_the_certificate(finished, page):
    certificate = finished.json("tokenizer/tailored/certificate.json")
    table = page.table("Vocabulary")
    for row in table.rows:
        facts = certificate["languages"][row[0]]
        words, characters = facts["tokens_per_word"], facts["characters_per_token"]
        expected = [words["teacher"], words["pruned"], words["new"], characters["teacher"], characters["new"]]
        assert row[2:7] == [f"{value:.2f}" for value in expected]
        assert row[7] == f"{facts['retained']:,} of {facts['passages']:,}"
    plotted = bars(page.plot("Tokens per word"))
    series = {"teacher": "teacher", "pruned only": "pruned", "student": "new"}
    values = [facts["tokens_per_word"][key] for key in series.values() for facts in certificate["languages"].values()]
    lengths = [length for label in series for length in plotted[label]]
    np.testing.assert_allclose(np.array(lengths) / max(lengths), np.array(values) / max(values), atol=1e-3)


def test_the_pages_corpus_and_new_tokens_are_those_of_the_tables(finished, page):
    for row in page.table("Corpus").rows:
        lang = row[0].split()[0]
        splits = pq.read_table(finished.results / "corpus" / f"{lang}.parquet")["split"].to_pylist()
        assert [int(cell.split()[0]) for cell in row[2:5]] == [splits.count(s) for s in ("train", "validation", "test")]
    rows = pq.read_table(finished.results / "vocabulary" / "tailored.parquet").to_pylist()
    grafts = sorted((r for r in rows if r["origin"] == "target-language"), key=lambda r: (-r["count"], r["new_id"]))
    expected = [[row["token"], f"{row['count']:,}", row["reason"]] for row in grafts[:25]]
    assert page.table("New tokens").rows == expected


def test_the_tiles_are_the_students_main_figures(finished, page):
    for task in ("agreement", "bitext"):
        main = {model: scores[0] for model, scores in evaluations(finished, task).items()}
        value, note = page.tiles[f"{task}: {main['trained']['metric']}"]
        assert value == figure(main["trained"]["value"])
        assert note == ", ".join(
            f"{model} {figure(main[model]['value'])}" for model in ("grafted", "cut only", "teacher")
        )


def test_the_cards_scores_are_those_of_the_evaluation(finished, card):
    rows = {tuple(row[:3]): row[3:] for row in markdown_tables(card)[1].rows}
    count = 0
    for task in ("agreement", "fertility", "bitext"):
        for scores in zip(*evaluations(finished, task).values(), strict=True):
            found = rows[task, scores[0]["metric"], scores[0]["group"] or ""]
            assert [cell.split()[0] for cell in found[:4]] == [f"{score['value']:.2f}" for score in scores]
            count += 1
    assert count == len(rows)


def test_the_cards_sizes_and_front_matter_are_those_of_the_run(finished, card):
    sizes = markdown_tables(card)[0].cells()
    folders = [finished.results / "teacher" / "model", finished.results / "student" / "tailored"]
    assert sizes["vocabulary"] == [f"{vocabulary_size(folder):,}" for folder in folders]
    assert sizes["parameters"][1] == f"{parameters(folders[1]):,}"
    assert front_matter(card)["language"] == ["en", "tr"]
