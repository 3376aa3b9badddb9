"""Where the metrics of a training are seen while it runs: TensorBoard, and the trackers that accelerate knows.

Nothing here shapes the student. Trackers are started on the main process alone, and get the settings of the training and its
metrics; where they send them, and with which account, is for their own environment variables and files to say.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from accelerate import Accelerator
from accelerate.tracking import GeneralTracker, get_available_trackers

from langtailor.config.distillation import DistillationSettings
from langtailor.errors import ConfigError

_LOG = logging.getLogger("langtailor")
#: What trackers call the project that a run belongs to.
_PROJECT = "langtailor"
#: How trackers take a run's name; with the others a run has the name that they give it.
_TITLES = {"mlflow": "run_name", "trackio": "name", "wandb": "name"}


class View(Protocol):
    """A place where metrics are seen."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Show the metrics of a step."""

    def close(self) -> None:
        """Show no more."""


def check_views(settings: DistillationSettings) -> None:
    """Refuse what cannot be opened, before anything is loaded.

    Raises:
        ConfigError: a package is missing.
    """
    if settings.tensorboard:
        _summary_writer(settings.section)
    available = [str(name) for name in get_available_trackers()]
    for name in settings.report_to:
        if name not in available:
            raise ConfigError(
                f"{settings.section}.report_to",
                f"found {name!r}, but accelerate finds no such package: run `pip install {name}`, or remove it",
            )


@contextmanager
def open_views(
    accelerator: Accelerator, settings: DistillationSettings, folder: Path, title: str, facts: Mapping[str, Any]
) -> Iterator[list[View]]:
    """The views that the settings name, on the main process; none on the others.

    Args:
        accelerator: made with :func:`tracking`.
        settings: name them.
        folder: where those that write files have them.
        title: what trackers call this training.
        facts: what they remember of it: the settings, which hold no secrets.

    Raises:
        ConfigError: a tracker cannot be started.
    """
    views: list[View] = []
    if accelerator.is_main_process:
        views += [TensorBoard(folder / "tensorboard", settings.section)] if settings.tensorboard else []
        views += _started(accelerator, title, facts, settings.section)
    try:
        yield views
    finally:
        for view in views:
            view.close()


def tracking(settings: DistillationSettings, folder: Path) -> dict[str, Any]:
    """Arguments of :class:`accelerate.Accelerator` for the trackers that the settings name."""
    return {"log_with": list(settings.report_to), "project_dir": str(folder)} if settings.report_to else {}


class TensorBoard:
    """TensorBoard's event files in a folder."""

    def __init__(self, folder: Path, section: str) -> None:
        self._writer = _summary_writer(section)(str(folder))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Add the metrics of a step."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the files."""
        self._writer.close()


class Tracker:
    """A tracker that has been started. One that fails is left alone: a training does not stop for it."""

    def __init__(self, tracker: GeneralTracker) -> None:
        self._tracker, self._works = tracker, True

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send the metrics of a step."""
        if not self._works:
            return
        try:
            self._tracker.log(dict(values), step=step)
        except Exception as error:
            self._works = False
            _LOG.warning("%s gets no metrics from step %d on: %s", self._tracker.name, step, error)

    def close(self) -> None:
        """End the run."""
        try:
            self._tracker.finish()
        except Exception as error:
            _LOG.warning("%s: its run could not be ended: %s", self._tracker.name, error)


def _started(accelerator: Accelerator, title: str, facts: Mapping[str, Any], section: str) -> Sequence[View]:
    names = [str(name) for name in accelerator.log_with]
    try:
        accelerator.init_trackers(
            _PROJECT, dict(facts), {name: {_TITLES[name]: title} for name in names if name in _TITLES}
        )
    except Exception as error:
        raise ConfigError(
            f"{section}.report_to", f"{', '.join(names)} cannot be started: {error}. Fix it or remove it"
        ) from error
    return [Tracker(tracker) for tracker in accelerator.trackers]


def _summary_writer(section: str) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            f"{section}.tensorboard",
            "found true, but the package is not installed: run `pip install tensorboard`",
        ) from error
    return SummaryWriter
