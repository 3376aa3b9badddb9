"""Plots of the report as inline SVG: same data, same bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: Values of both axes.
Curve = tuple[Sequence[float], Sequence[float]]
#: Hues that colour-blind readers tell apart (Okabe and Ito 2008), as dark or light as white and dark paper both allow.
MODEL_COLOURS = {
    "teacher": "#7a7a7a",
    "base model": "#8a63d2",
    "cut only": "#009e73",
    "grafted": "#d55e00",
    "reduced": "#b5619a",
    "mapped": "#b5619a",
    "trained": "#0072b2",
    "trained for retrieval": "#a8750a",
}
CATEGORIES = ("#0072b2", "#d55e00", "#009e73", "#b5619a", "#a8750a", "#7a7a7a", "#8a63d2", "#c4475a")
_MARKERS = "osD^vP"
#: Inches; text stays legible where the page shows a plot on a phone.
_WIDTH = 4.8
#: Characters of a legend that stand side by side.
_LEGEND_CHARACTERS = 56
_STYLE: Any = {
    "svg.hashsalt": "langtailor",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#8884",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


@dataclass(frozen=True)
class Plot:
    """A plot, as an ``<svg>`` element, and what it shows."""

    svg: str
    caption: str


def dots(labels: Sequence[str], series: Mapping[str, Sequence[float | None]], unit: str) -> str:
    """A row a label with a point for each series: legible for one label and for forty.

    Args:
        labels: label of each row, from top to bottom.
        series: figures by name, ``None`` where there is none; the names of models get their colours.
        unit: label of the axis.

    Returns:
        An ``<svg>`` element.
    """
    with mpl.rc_context({**_STYLE, "axes.grid.axis": "both"}):
        figure, axes = _figure(height=_height(labels, series))
        hints = {}
        for index, (name, values) in enumerate(series.items()):
            points = [(value, row) for row, value in enumerate(values) if value is not None]
            marker = _MARKERS[index % len(_MARKERS)]
            # The first is the largest, so that of equal figures each is seen.
            size = max(3.5, 8 - 1.5 * index)
            axes.plot(
                *_columns(points), marker, color=_colour(name, index), label=name, markersize=size, gid=f"s{index}"
            )
            if points:  # of a series without points the drawing has no group
                hints[f"s{index}"] = [f"{labels[row]}, {name}: {value:.5g}" for value, row in points]
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.margins(x=0.06)
        axes.set_xlabel(unit)
        return _with_hints(_svg(figure, series), hints)


def stacked_bars(labels: Sequence[str], series: Mapping[str, Sequence[float]], unit: str) -> str:
    """Horizontal bars, one a label, each stacked from the series. Returns an ``<svg>`` element."""
    with mpl.rc_context({**_STYLE, "axes.grid.axis": "x"}):
        figure, axes = _figure(height=_height(labels, series))
        left = np.zeros(len(labels))
        for index, (name, values) in enumerate(series.items()):
            axes.barh(labels, values, left=left, label=name, color=_colour(name, index), height=0.7)
            left += np.asarray(values, dtype=float)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.locator_params(axis="x", nbins=6)
        axes.set_xlabel(unit)
        return _svg(figure, series)


def curves(series: Mapping[str, Curve], x_label: str, y_label: str) -> str:
    """Lines over a common axis, with markers but for ``train``, which has a point a step. Returns an ``<svg>`` element."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure()
        for index, (name, (x, y)) in enumerate(series.items()):
            marker = "" if name == "train" else "o"
            axes.plot(x, y, label=name, color=_colour(name, index), marker=marker, markersize=3, lw=1.5)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        return _svg(figure, series)


def trade_off(series: Mapping[str, Sequence[float]], x: Sequence[float], names: Sequence[str], x_label: str) -> str:
    """Points over a common axis, joined in its order, with their names below. Returns an ``<svg>`` element.

    Args:
        series: values of each point by what is measured.
        x: position of each point.
        names: name of each point.
        x_label: label of the axis.
    """
    order = sorted(range(len(x)), key=x.__getitem__)
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(height=3.4)
        for index, (name, values) in enumerate(series.items()):
            points = [x[i] for i in order], [values[i] for i in order]
            axes.plot(*points, label=name, color=_colour(name, index), marker="o", lw=1.5)
        low = min(min(values) for values in series.values())
        for place, index in enumerate(order):
            # Neighbours stand on two lines, or they would cover each other.
            offset = (0, -14 - 10 * (place % 2))
            axes.annotate(names[index], (x[index], low), xytext=offset, textcoords="offset points", ha="center")
        axes.margins(x=0.12, y=0.2)
        axes.set_xlabel(x_label)
        axes.set_ylabel("student, % of the teacher")
        return _svg(figure, series)


def panels(
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]], texts: Mapping[str, Sequence[str]]
) -> str:
    """Points on a plane, the panels side by side on the same axes, which have no unit. Returns an ``<svg>`` element.

    Args:
        panels: by title, the points of each series by its name; all panels have the same series.
        texts: by series, what each point is: shown while a pointer rests on it.
    """
    with mpl.rc_context({**_STYLE, "axes.grid": False, "axes.spines.top": True, "axes.spines.right": True}):
        figure = Figure(figsize=(2 * _WIDTH, 4.4), layout="constrained")
        drawn = figure.subplots(1, len(panels), sharex=True, sharey=True)
        hints = {}
        for panel, (axes, (title, series)) in enumerate(zip(drawn, panels.items(), strict=True)):
            for index, (name, points) in enumerate(series.items()):
                group, marker = f"p{panel}-{index}", _MARKERS[index % len(_MARKERS)]
                label = f"_{name}" if panel else name  # one legend for all
                axes.plot(*_columns(points), marker, color=_colour(name, index), label=label, gid=group)
                hints[group] = texts[name]
            axes.set_title(title, fontsize=10)
            axes.set_xticks([])
            axes.set_yticks([])
            for line in axes.lines:
                line.set(markersize=4, markeredgewidth=0)
        return _with_hints(_svg(figure, next(iter(panels.values()))), hints)


def inline(svg: str, name: str, key: str) -> Markup:
    """A plot as the page holds it: with a name for users who cannot see it, and ids that no other plot has.

    Args:
        svg: an ``<svg>`` element of this module.
        name: what it shows, in one sentence.
        key: begins all its ids; no other plot of the page may have it.
    """
    named = re.sub(r'\bid="|(?<=")#|(?<=url\()#', lambda found: found.group() + f"{key}-", svg)
    return Markup(named.replace("<svg", f'<svg role="img" aria-label="{escape(name)}"', 1))


def _with_hints(svg: str, hints: Mapping[str, Sequence[str]]) -> str:
    """A plot whose points say what they are while a pointer rests on them: by id of a series, a text for each point."""
    for series, texts in hints.items():
        start = svg.index(f'<g id="{series}">')
        end = svg.index("\n   </g>", start)
        points = re.sub(r"(<use [^>]*)/>", partial(_hint, iter(texts)), svg[start:end])
        svg = svg[:start] + points + svg[end:]
    return svg


def _hint(texts: Iterator[str], point: re.Match[str]) -> str:
    return f"{point[1]}><title>{escape(next(texts))}</title></use>"


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _colour(name: str, index: int) -> str:
    return MODEL_COLOURS.get(name, CATEGORIES[index % len(CATEGORIES)])


def _height(labels: Sequence[str], series: Mapping[str, Any]) -> float:
    """Inches that a plot with a line for each label needs."""
    return 0.22 * len(labels) + max(1.1, 0.5 + 0.2 * -(-len(series) // _legend_columns(series)))


def _legend_columns(series: Mapping[str, Any]) -> int:
    return max(1, min(len(series), _LEGEND_CHARACTERS // (max(map(len, series)) + 6)))


def _figure(height: float = 2.9) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def _svg(figure: Figure, series: Mapping[str, Any]) -> str:
    """The figure, with a legend where there are several series."""
    if len(series) > 1:
        figure.legend(loc="outside upper left", ncols=_legend_columns(series), handlelength=1.2, columnspacing=1.2)
    buffer = io.StringIO()
    # Without a date the bytes depend on the data alone.
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # The page sets the size, and its text colour reaches the plot's text and axes (dark mode).
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return text.replace("#000000", "currentColor").replace("<svg", '<svg fill="currentColor"', 1)
