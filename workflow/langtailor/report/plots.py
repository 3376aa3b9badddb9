"""Plots of the report as inline SVG: same data, same bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: Values of both axes.
Curve = tuple[Sequence[float], Sequence[float]]
#: Colours that colour-blind readers tell apart (Okabe and Ito 2008).
MODEL_COLOURS = {
    "teacher": "#7a7a7a",
    "cut only": "#56b4e9",
    "grafted": "#e69f00",
    "reduced": "#cc79a7",
    "trained": "#0072b2",
}
_CATEGORIES = ("#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00", "#cc79a7", "#f0e442", "#7a7a7a")
_STYLE: Any = {
    "svg.hashsalt": "langtailor",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#8884",
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Plot:
    """A plot, as an ``<svg>`` element, and what it shows."""

    svg: str
    caption: str


def grouped_bars(labels: Sequence[str], series: Mapping[str, Sequence[float]], unit: str) -> str:
    """Bars of several series side by side over the same labels.

    Args:
        labels: label under each group of bars.
        series: figures by name; the names of models get their colours.
        unit: label of the vertical axis.

    Returns:
        An ``<svg>`` element.
    """
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(width=max(6.0, 0.55 * len(labels) + 2))
        positions = np.arange(len(labels))
        width = 0.8 / max(len(series), 1)
        for index, (name, values) in enumerate(series.items()):
            colour = MODEL_COLOURS.get(name, _CATEGORIES[index % len(_CATEGORIES)])
            axes.bar(positions + (index - (len(series) - 1) / 2) * width, values, width, label=name, color=colour)
        axes.set_xticks(positions, labels)
        axes.set_ylabel(unit)
        _legend_above(axes, len(series))
        return _svg(figure)


def stacked_bars(labels: Sequence[str], series: Mapping[str, Sequence[float]], unit: str) -> str:
    """Horizontal bars, one a label, each stacked from the series. Returns an ``<svg>`` element."""
    with mpl.rc_context({**_STYLE, "axes.grid.axis": "x"}):
        figure, axes = _figure(width=8.0, height=0.45 * len(labels) + 1.2)
        left = np.zeros(len(labels))
        for index, (name, values) in enumerate(series.items()):
            axes.barh(labels, values, left=left, label=name, color=_CATEGORIES[index % len(_CATEGORIES)])
            left += np.asarray(values, dtype=float)
        axes.invert_yaxis()
        axes.set_xlabel(unit)
        _legend_above(axes, len(series))
        return _svg(figure)


def curves(series: Mapping[str, Curve], x_label: str, y_label: str) -> str:
    """Lines over a common axis, with markers where the name starts with ``validation``. Returns an ``<svg>`` element."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(width=8.0)
        for index, (name, (x, y)) in enumerate(series.items()):
            marker = "o" if name.startswith("validation") else ""
            axes.plot(
                x, y, label=name, color=_CATEGORIES[index % len(_CATEGORIES)], marker=marker, markersize=3, lw=1.5
            )
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        _legend_above(axes, len(series))
        return _svg(figure)


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
        figure, axes = _figure(width=8.0, height=3.8)
        for index, (name, values) in enumerate(series.items()):
            color = _CATEGORIES[index % len(_CATEGORIES)]
            axes.plot([x[i] for i in order], [values[i] for i in order], label=name, color=color, marker="o", lw=1.5)
        low = min(min(values) for values in series.values())
        for position, name in zip(x, names, strict=True):
            axes.annotate(name, (position, low), xytext=(0, -14), textcoords="offset points", ha="center", fontsize=9)
        axes.margins(x=0.1, y=0.15)
        axes.set_xlabel(x_label)
        axes.set_ylabel("student, % of the teacher")
        _legend_above(axes, len(series))
        return _svg(figure)


def _figure(width: float, height: float = 3.2) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _legend_above(axes: Axes, entries: int) -> None:
    if entries > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=min(entries, 8), fontsize=9)


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    # Without a date the bytes depend on the data alone.
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # The page sets the size, and its text colour reaches the plot's text and axes (dark mode).
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return text.replace("#000000", "currentColor").replace("<svg", '<svg role="img"', 1)
