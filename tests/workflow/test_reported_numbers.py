"""Every figure that the report and the card of a whole run show is the one of the file that it comes from."""

from __future__ import annotations

import json
import re
from html import unescape

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from safetensors import safe_open
from tokenizers import Tokenizer

from tests.reading import Page, dots, front_matter, markdown_tables

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


def scaled(values):
    values = np.array(values)
    return (values - values.min()) / (values.max() - values.min())


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
            share = 100 * rows[3]["value"] / rows[0]["value"] if rows[0]["low"] > 0 else 1000
            kept = f"{share:.1f} %" if share <= 110 else ""
            name = f"{task}: {rows[0]['group']} / {rows[0]['metric']}, {rows[3]['n']:,} items"
            expected.append([name, *values, kept])
    assert [row[:6] for row in page.table("Scores").rows] == expected


def test_the_pages_differences_are_those_of_the_items(finished, page):
    items = {name: finished.json(f"evaluation/{path}/agreement.json")["items"] for name, path in MODELS.items()}
    rows = {row[0].split()[1]: row[6:] for row in page.table("Scores").rows if row[0].startswith("agreement")}
    for group, found in rows.items():
        student = np.array(items["trained"][group])
        for cell, other in zip(found, ("teacher", "cut only"), strict=True):
            assert float(cell.split()[0]) == pytest.approx((student - items[other][group]).mean(), rel=5e-3)


def test_the_pages_sizes_are_those_of_the_weights(finished, page):
    teacher, student = finished.results / "teacher" / "model", finished.results / "student" / "tailored"
    sizes = page.table("From the teacher").cells()
    before, after = vocabulary_size(teacher), vocabulary_size(student)
    assert sizes["tokens"] == [f"{before:,}", *3 * [f"{after:,}"]]
    assert sizes["of these, token embeddings"] == [f"{32 * before / 1e6:.1f} M", *3 * [f"{32 * after / 1e6:.1f} M"]]
    assert sizes["parameters"][1:] == 3 * [f"{parameters(student) / 1e6:.1f} M"]
    assert sizes["weights"][3] == f"{(student / 'model.safetensors').stat().st_size / 1e6:,.1f} MB"


def test_the_pages_tokens_a_word_are_those_of_the_certificate(finished, page):
    certificate = finished.json("tokenizer/tailored/certificate.json")
    table = page.table("Vocabulary")
    for row in table.rows:
        facts = certificate["languages"][row[0]]
        words, characters = facts["tokens_per_word"], facts["characters_per_token"]
        expected = [words["teacher"], words["pruned"], words["new"], characters["teacher"], characters["new"]]
        assert row[2:7] == [f"{value:.2f}" for value in expected]
        assert row[7] == f"{facts['retained']:,} of {facts['passages']:,}"
    plotted = dots(page.plot("Tokens per word"))
    series = {"teacher": "teacher", "pruned only": "pruned", "student": "new"}
    values = [facts["tokens_per_word"][key] for key in series.values() for facts in certificate["languages"].values()]
    places = [x for label in series for x, _ in plotted[label]]
    np.testing.assert_allclose(scaled(places), scaled(values), atol=1e-3)


def test_the_pages_corpus_and_new_tokens_are_those_of_the_tables(finished, page):
    for row in page.table("Corpus").rows:
        lang = row[0].split()[0]
        splits = pq.read_table(finished.results / "corpus" / f"{lang}.parquet")["split"].to_pylist()
        assert [int(cell.split()[0]) for cell in row[2:5]] == [splits.count(s) for s in ("train", "validation", "test")]
    rows = pq.read_table(finished.results / "vocabulary" / "tailored.parquet").to_pylist()
    grafts = sorted((r for r in rows if r["origin"] == "target-language"), key=lambda r: (-r["count"], r["new_id"]))
    expected = [[row["token"], f"{row['count']:,}", row["reason"]] for row in grafts[:25]]
    assert page.table("New tokens").rows == expected


def test_the_page_opens_with_the_students_main_figures(finished, page):
    (said,) = page.answers
    vocabulary = pq.read_table(finished.results / "vocabulary" / "tailored.parquet")
    new = vocabulary["teacher_id"].null_count
    assert f"with {vocabulary.num_rows - new:,} of its" in said
    assert f"and {new:,} new ones, trained on its vectors" in said
    table = page.table("From the teacher").cells()
    for task in ("agreement", "bitext"):
        main = [scores[0] for scores in evaluations(finished, task).values()]
        cells = table[f"{task}: {main[0]['metric']}"]
        assert [cell.split()[0] for cell in cells] == [figure(score["value"]) for score in main]
        before, after = main[0]["value"], main[3]["value"]
        kept = main[0]["low"] > 0 and after <= 1.1 * before
        told = (
            f"{100 * after / before:.1f} % on {task}" if kept else f"from {figure(before)} to {figure(after)} on {task}"
        )
        assert told in said


def test_the_page_shows_a_test_sentence_as_the_students_tokenizer_cuts_it(finished, page):
    text = (finished.results / "report.html").read_text(encoding="utf-8")
    test = pc.field("split") == "test"
    sentences = pq.read_table(finished.results / "corpus" / "tr.parquet", filters=test)["text"].to_pylist()
    tokenizer = Tokenizer.from_file(str(finished.results / "tokenizer" / "tailored" / "tokenizer.json"))
    tokenizer.no_padding()
    shown = [re.sub("<[^>]*>", "", cell) for cell in re.findall(r'<dd dir="auto" lang="tr">(.*?)</dd>', text)]
    counts = [int(count) for count in re.findall(r"<dt>student, (\d+) tokens</dt>", text)]
    assert unescape(shown[1]) in sentences
    assert counts[0] == len(tokenizer.encode(unescape(shown[1]), add_special_tokens=False).ids)


def test_the_cards_scores_are_those_of_the_evaluation(finished, card):
    rows = {tuple(row[:3]): row[3:] for row in markdown_tables(card)[2].rows}
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
