"""A progress line that reads well in a terminal and in a log file.

Several jobs share one terminal, and a cluster job has none at all. So progress is logged in whole lines, a bar with rate
and time left every few seconds: they do not overwrite one another, and ``tail -f`` on a log shows where a job stands.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sized
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")
_LOG = logging.getLogger("langtailor")
_BAR_CELLS = 20
#: Share of the work from which on the rest is estimated.
_ESTIMATE_FROM = 0.01


class Progress:
    """Counts units of work and says how far, how fast and how long still.

    Use as a context manager::

        with Progress("encoding tr", total=1000, unit="passage") as progress:
            progress.update(32)

    Args:
        label: what is being done.
        total: number of units, or ``None`` when unknown.
        unit: what is counted, in the singular.
        every: seconds between two lines; the first comes sooner.
    """

    def __init__(self, label: str, total: int | None, unit: str = "item", every: float = 10.0) -> None:
        self.label, self.total, self.unit, self.every = label, total, unit, every
        self.done = 0
        self._started = time.monotonic()
        self._next = self._started + every / 5

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._log()

    def update(self, units: int = 1, note: str = "") -> None:
        """Add ``units`` of finished work; ``note`` (a loss, say) follows the figures."""
        self.done += units
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self.every
            self._log(note)

    def _log(self, note: str = "") -> None:
        seconds = max(time.monotonic() - self._started, 1e-9)
        rate = self.done / seconds
        total = self.total or 0
        # The first units come with the time it took to start, which says nothing of the rest.
        has_estimate = _ESTIMATE_FROM * total <= self.done < total
        figures = [
            f"{self.label}: {self._amount()}",
            f"{rate:,.1f} {self.unit}s/s",
            f"{clock((total - self.done) / rate)} left" if has_estimate else f"in {clock(seconds)}",
        ]
        _LOG.info(", ".join([*figures, note] if note else figures))

    def _amount(self) -> str:
        if not self.total:
            return f"{self.done:,} {self.unit}s"
        share = min(self.done / self.total, 1.0)
        cells = round(share * _BAR_CELLS)
        bar = "#" * cells + "-" * (_BAR_CELLS - cells)
        return f"[{bar}] {100 * share:3.0f} % {self.done:,} of {self.total:,} {self.unit}s"


def track(items: Iterable[T], label: str, total: int | None = None, unit: str = "item") -> Iterator[T]:
    """Yield ``items`` and report progress; ``total`` defaults to their length where they have one."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(label, total, unit) as progress:
        for item in items:
            yield item
            progress.update()


def clock(seconds: float) -> str:
    """Seconds as ``minutes:seconds`` or, from an hour on, ``hours:minutes:seconds``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
