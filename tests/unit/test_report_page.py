"""The page is one small file that a browser, a phone, a printer and a screen reader can show, whatever the run is called."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

import pyarrow as pa
import pytest

from langtailor.config.report import ReportSettings
from langtailor.evaluation.comparison import Comparison
from langtailor.report import plots
from langtailor.report.page import gather_page, write_report
from langtailor.storage import tables
from langtailor.storage.artifacts import Manifest
from tests.unit.test_report_numbers import CERTIFIED, COMPARISONS, QUOTAS, make_run, scores

MARKUP = "<script>alert('x')</script> & \"so\" `on` | ]]>"
PAPERS = ("#ffffff", "#15181d")


class Elements(HTMLParser):
    """All elements of a page: tag and attributes, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def of(self, *tags):
        return [attributes for tag, attributes in self.found if tag in tags]


def write_page(folder, languages, variants=("tailored",), sentence="Bugün hava çok güzel, değil mi?"):
    """The page of a run in these languages, each with one test sentence."""
    root = make_run(folder, variants)
    for lang in languages:
        rows = {"id": ["1"], "lang": [lang], "text": [sentence], "split": ["test"], "pair": [None]}
        facts = {
            "passages": {"train": 5, "validation": 2, "test": 1},
            "characters": {"train": 50},
            "documents": {"read": 8},
            "dropped": {},
        }
        manifest = Manifest("corpus", {"quotas": QUOTAS}, {"documents": {"source": {"kind": "files"}}}, facts)
        tables.write_table(root / "corpus" / f"{lang}.parquet", pa.table(rows, schema=tables.CORPUS), manifest)
    by_language = [Comparison("agreement", "cosine", lang, scores(1.0, 0.25, 0.75), {}, {}) for lang in languages]
    settings = {"vocabulary": {"graft": {"share": 0.5}}, "export": {"formats": []}, "note": sentence}
    models = {name: {"teacher": "teacher", "cut": f"{name}/clone", "trained": f"{name}/student"} for name in variants}
    page = gather_page(
        root,
        "a run",
        ReportSettings(title=f"Title {sentence}"),
        languages,
        [],
        dict.fromkeys(variants, settings),
        models,
        {name: [*COMPARISONS, *by_language] for name in variants},
        None,
    )
    write_report(page, root / "report.html")
    return (root / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module", params=[(1, ["one"]), (12, ["small", "large"]), (40, ["one"])], ids=["1", "12", "40"])
def run(request):
    """Number of languages and names of the variants."""
    return request.param


@pytest.fixture(scope="module")
def text(run, tmp_path_factory):
    languages, variants = run
    return write_page(tmp_path_factory.mktemp("run"), [f"l{index}" for index in range(languages)], variants)


def test_no_id_stands_twice_and_every_reference_has_its_target(text):
    elements = Elements(text).found
    ids = Counter(attributes["id"] for _, attributes in elements if "id" in attributes)
    assert {name for name, count in ids.items() if count > 1} == set()
    references = {a.get("href") or a.get("xlink:href") for _, a in elements} - {None}
    clips = set(re.findall(r"url\((#[^)]*)\)", text))
    assert references, "the page refers to its sections"
    assert clips, "plots refer to their own parts"
    assert {reference.removeprefix("#") for reference in references | clips} <= set(ids)


def test_nothing_outside_the_page_is_needed_and_it_is_small(text):
    assert not re.search(r"<(link|iframe|img)\b|@import|url\((?!#)", text)
    assert Elements(text).of("script") == [{}], "one script, which is in the page"
    assert len(text.encode()) < 3_000_000


def test_every_heading_of_a_table_says_what_it_heads(text):
    headings = Elements(text).of("th")
    assert headings
    assert {attributes.get("scope") for attributes in headings} == {"col", "row"}


def test_every_plot_and_every_box_that_scrolls_has_a_name(text):
    page = Elements(text)
    assert all(plot.get("role") == "img" and plot.get("aria-label") for plot in page.of("svg"))
    boxes = [attributes for attributes in page.of("div") if attributes.get("class") == "scroll"]
    assert len(boxes) == len(page.of("table"))
    assert all(box.get("aria-label") and box.get("tabindex") == "0" for box in boxes)


def test_every_table_scrolls_in_a_box_of_its_own(text):
    boxed = re.findall(r'<div class="scroll"[^>]*><table[^>]*>\s*(<\w+>)', text)
    assert len(boxed) == text.count("<table")
    assert text.count('<table class="sortable">') == len(re.findall(r'<table class="sortable">\s*<thead>', text)) > 1


def test_languages_beyond_the_sixth_are_folded(run, text):
    languages, _ = run
    summary = re.search(r"<summary>(\d+) more languages: l", text)
    assert (int(summary.group(1)) if summary else 0) == max(0, languages - 6)
    shown = text[: summary.start()] if summary else text
    assert shown.count('<dl class="reading">') == min(6, languages)
    assert text.count('<dl class="reading">') == languages


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [1, 12, 40])
def test_a_plot_has_room_for_its_labels_without_a_warning(count):
    labels = [f"language-{index}" for index in range(count)]
    series = {name: [0.5] * count for name in plots.MODEL_COLOURS}
    heights = [float(re.search(r'viewBox="0 0 \S+ (\S+)"', svg).group(1)) for svg in (
        plots.dots(labels, series, "cosine"), plots.stacked_bars(labels, series, "passages")
    )]  # fmt: skip
    assert all(height >= 12 * count for height in heights), "a line of text is 9 points high"
    plots.curves({label: ([0, 1], [0, 1]) for label in labels[:8]}, "step", "cosine")


def luminance(colour):
    """Relative luminance (WCAG 2.2) of ``#rrggbb``."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("colour", sorted({*plots.CATEGORIES, *plots.MODEL_COLOURS.values()}))
@pytest.mark.parametrize("paper", PAPERS)
def test_plots_can_be_seen_on_light_and_on_dark_paper(colour, paper):
    bright, dark = sorted((luminance(colour), luminance(paper)), reverse=True)
    assert (bright + 0.05) / (dark + 0.05) >= 3, "what WCAG asks of graphics"


def test_text_of_a_plot_has_the_colour_of_the_page(text):
    assert "#000000" not in text
    assert all(plot.get("fill") == "currentColor" for plot in Elements(text).of("svg"))


def test_markup_in_what_others_wrote_stays_text(tmp_path, monkeypatch):
    monkeypatch.setitem(CERTIFIED, MARKUP, CERTIFIED["de"])
    text = write_page(tmp_path, ["de"], sentence=MARKUP)
    assert text.count("<script") == 1
    assert MARKUP not in text
    shown = re.sub("<[^>]*>", "", text)
    assert shown.count("&lt;script&gt;") >= 5, "in title, code, settings, tables and both readings"
    assert len(Elements(text).of("script")) == 1, "that of the page"
