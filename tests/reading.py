"""Reading back what a report or a card says: tables of HTML and Markdown, bars and lines of an SVG plot."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser

import yaml

_BOX = r'<path d="M ([\d.]+) ([\d.]+) \nL ([\d.]+) ([\d.]+) \nL ([\d.]+) ([\d.]+) \nL [\d.]+ [\d.]+ \nz\n"'
_BAR = re.compile(_BOX + r' clip-path="[^"]*" style="fill: (#\w+)"')
_BOX_KEY = re.compile(_BOX + r' style="fill: (#\w+)"/>\s*</g>\s*<g id="[^"]*text_\d+">\s*<text[^>]*>([^<]*)<')
_LINE = re.compile(r'<path d="M ([^"z]*)" clip-path="[^"]*" style="fill: none; stroke: (#\w+); stroke-width: 1.5;')
_LINE_KEY = re.compile(r"stroke: (#\w+); stroke-width: 1.5;.*?<text[^>]*>([^<]*)<", re.DOTALL)
_DOT = re.compile(r'<use xlink:href="[^"]*" x="([\d.]+)" y="([\d.]+)" style="fill: (#\w+)')
_DOT_KEY = re.compile(r'<use [^>]* style="fill: (#\w+)[^>]*/>.*?<text[^>]*>([^<]*)<', re.DOTALL)
_TEXT = re.compile(r"<text[^>]*>([^<]*)<")


@dataclass
class Table:
    """Cells of a table as text; a line break inside a cell is `` / ``."""

    section: str = ""
    head: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)

    def column(self, name: str) -> list[str]:
        """The cells below a heading."""
        return [row[self.head.index(name)] for row in self.rows]

    def cells(self) -> dict[str, list[str]]:
        """The other cells of each row by its first."""
        return {row[0]: row[1:] for row in self.rows}


class Page(HTMLParser):
    """The tables, plots and paragraphs of a page.

    Attributes:
        tables: all tables, in order.
        answers: the first sentences of each variant.
        figures: SVG and caption of each plot, in order.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[Table] = []
        self.answers: list[str] = []
        self._section, self._cell, self._heads_row = "", None, False
        found = re.findall(r"<figure>(<svg.*?</svg>)\s*<figcaption>(.*?)</figcaption>", text, re.DOTALL)
        self.figures = [(svg, unescape(caption)) for svg, caption in found]
        self.feed(
            re.sub(r"<svg.*?</svg>", "", re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL), flags=re.DOTALL)
        )

    def table(self, section: str) -> Table:
        """The first table below a heading."""
        return next(table for table in self.tables if table.section.startswith(section))

    def plot(self, caption: str) -> str:
        """The plot with a caption that starts so."""
        return next(svg for svg, text in self.figures if text.startswith(caption))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "table":
            self.tables.append(Table(self._section))
        elif tag == "tr":
            self.tables[-1].rows.append([])
        elif tag in ("td", "th", "h2", "h3") or attributes.get("class") == "answer":
            self._cell, self._heads_row = [], attributes.get("scope") == "row"
        elif tag == "br" and self._cell is not None:
            self._cell.append(" / ")

    def handle_endtag(self, tag):
        text = "".join(self._cell or [])
        if tag in ("h2", "h3"):
            self._section = text
        elif tag == "th" and not self._heads_row:
            self.tables[-1].head.append(text.strip())
        elif tag in ("td", "th"):
            self.tables[-1].rows[-1].append(text.strip())
        elif tag == "thead":
            # A column without a heading has an empty cell.
            self.tables[-1].head = self.tables[-1].rows.pop() + self.tables[-1].head
        elif tag == "p" and self._cell is not None:
            self.answers.append(" ".join(text.split()))
        if tag in ("td", "th", "h2", "h3", "p"):
            self._cell = None

    def handle_data(self, data):
        if self._cell is not None:
            self._cell.append(data)


def texts(svg: str) -> list[str]:
    """All text of a plot, in the order in which it is drawn."""
    return _TEXT.findall(svg)


def bars(svg: str) -> dict[str | None, list[float]]:
    """Lengths of the bars of each series, by its name in the legend; without a legend by ``None``."""
    names = {key[-2]: key[-1] for key in _BOX_KEY.findall(svg)}
    found = defaultdict(list)
    for x, y, right, _, _, top, colour in _BAR.findall(svg):
        height, width = float(y) - float(top), float(right) - float(x)
        found[names.get(colour)].append(height if height > 0 else width)  # upright ones are drawn from their foot
    return dict(found)


def lines(svg: str) -> dict[str | None, list[tuple[float, float]]]:
    """Points of each line, upward and to the right, by its name in the legend; without a legend by ``None``."""
    names = dict(_LINE_KEY.findall(_legend(svg)))
    found = {}
    for path, colour in _LINE.findall(svg):
        points = [tuple(map(float, point.split())) for point in path.replace("L", "").split("\n") if point.strip()]
        found[names.get(colour)] = [(x, -y) for x, y in points]
    return found


def dots(svg: str) -> dict[str | None, list[tuple[float, float]]]:
    """Points of each series, upward and to the right, by its name in the legend; without a legend by ``None``."""
    legend = _legend(svg)
    names = dict(_DOT_KEY.findall(legend))
    found = defaultdict(list)
    for x, y, colour in _DOT.findall(svg.removesuffix(legend)):
        found[names.get(colour)].append((float(x), -float(y)))
    return dict(found)


def _legend(svg: str) -> str:
    start = re.search(r'<g id="[^"]*legend', svg)
    return svg[start.start() :] if start else ""


def markdown_tables(text: str) -> list[Table]:
    """The tables of a Markdown text."""
    found: list[Table] = []
    lines_before: list[str] = []
    for line in text.splitlines():
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]
            if not lines_before or not lines_before[-1].startswith("|"):
                found.append(Table(head=cells))
            elif not re.fullmatch(r"[-:| ]+", line):
                found[-1].rows.append(cells)
        lines_before.append(line)
    return found


def front_matter(text: str) -> dict:
    """What stands between the first two lines of dashes."""
    _, matter, _ = text.split("---\n", 2)
    return yaml.safe_load(matter)
