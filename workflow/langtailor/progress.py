"""Progress in log lines: readable in a terminal and in a log file.

Several jobs share one terminal, and a cluster job has none. So progress is logged in whole lines, which do not overwrite
one another; ``tail -f`` on a log shows what a job is doing. :class:`Progress` counts units of work; :class:`Heartbeat`
makes sure that a job logs something every ten seconds, whatever it does.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")
_LOG = logging.getLogger("langtailor")
_VERBOSE = "LANGTAILOR_VERBOSE"
_BAR_CELLS = 20
#: Share of the work that must be done before its rate gives an estimate of the rest.
_ESTIMATE_FROM = 0.01


class Progress:
    """Counts units of work and logs how many are done, how fast, and the estimated time left.

    Use as a context manager, which logs a line at the start and one at the end::

        with Progress("encoding tr", total=1000, unit="passage") as progress:
            progress.update(32)

    Args:
        label: what is being done.
        total: number of units, or ``None`` when unknown.
        unit: what is counted, in the singular.
        every: seconds between two lines; the first comes sooner.
    """

    def __init__(self, label: str, total: int | None, unit: str = "item", every: float = 5.0) -> None:
        self.label, self.total, self.unit, self.every = label, total, unit, every
        self.done = 0
        self._started = time.monotonic()
        self._next = self._started + every / 5

    def __enter__(self) -> Self:
        _LOG.info("%s: %s %ss", self.label, f"{self.total:,}", self.unit) if self.total else _LOG.info(self.label)
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
        # The first units include the time of starting up, which says nothing about the rest.
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


class Heartbeat(logging.Handler):
    """Logs that a job is still running, and its last message, whenever it has logged nothing for some seconds.

    Use as a context manager around the job.

    Args:
        message: what the job does until it logs something itself.
        every: seconds of silence after which a line comes.
    """

    def __init__(self, message: str, every: float = 9.0) -> None:
        super().__init__(logging.INFO)
        self._message, self._every = message, every
        self._job_logged = self._logged = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        _LOG.addHandler(self)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        _LOG.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Remember a message of the job; a line of the heartbeat itself only ends the silence."""
        self._logged = time.monotonic()
        if record.thread != self._thread.ident:
            self._job_logged = self._logged
            # A warning is no description of what the job is doing.
            self._message = record.getMessage() if record.levelno == logging.INFO else self._message

    def _beat(self) -> None:
        while not self._stopped.wait(max(0.0, self._logged + self._every - time.monotonic())):
            if time.monotonic() >= self._logged + self._every:
                _LOG.info("still running, %s after: %s", clock(time.monotonic() - self._job_logged), self._message)


def track(items: Iterable[T], label: str, total: int | None = None, unit: str = "item") -> Iterator[T]:
    """Yield ``items`` and log progress; ``total`` defaults to their length where they have one."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(label, total, unit) as progress:
        for item in items:
            yield item
            progress.update()


def be_verbose() -> None:
    """Let this process and those that it starts show all their messages in the terminal."""
    os.environ[_VERBOSE] = "1"


def is_verbose() -> bool:
    """Whether :func:`be_verbose` was called, here or in a process that has led to this one."""
    return bool(os.environ.get(_VERBOSE))


def clock(seconds: float) -> str:
    """Seconds as ``minutes:seconds`` or, from an hour on, ``hours:minutes:seconds``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
