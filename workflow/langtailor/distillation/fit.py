"""Whether settings, data, model and processes of a training fit together."""

from __future__ import annotations

from langtailor.config.distillation import DistillationSettings
from langtailor.distillation.data import Data
from langtailor.distillation.objective import Objective
from langtailor.distillation.student import Student
from langtailor.errors import ConfigError


def check_fit(data: Data, student: Student, settings: DistillationSettings, processes: int) -> None:
    """Refuse settings that do not fit the data, the model or the number of processes.

    Raises:
        ConfigError: names the setting.
    """
    languages = sorted(data.inputs["tokens"])
    section = settings.section
    if unknown := sorted(set(settings.language_weights) - set(languages)):
        raise ConfigError(f"{section}.language_weights", f"found {unknown[0]!r}, which is not one of {languages}")
    if settings.keep != "last" and not len(data.validation):
        raise ConfigError(
            f"{section}.keep",
            f"found {settings.keep!r}, but the validation split is empty; use `last` or raise {settings.validation_key}",
        )
    if settings.objective.compares_hidden_states and "whole" not in data.inputs:
        raise ConfigError(
            f"{section}.objective.hidden_states",
            "it needs the clone with all layers, of which none is given; set it to 0",
        )
    if settings.batch_size % processes:
        raise ConfigError(
            f"{section}.batch_size",
            f"found {settings.batch_size}, which {processes} processes cannot divide evenly; use a multiple",
        )
    width, stored_width = student.model.get_embedding_dimension(), data.train.dimension
    if width != stored_width:
        raise ConfigError("teacher.model", f"the stored vectors have {stored_width} dimensions, the clone's {width}")
    Objective(settings.objective).check_dimension(stored_width, section)
