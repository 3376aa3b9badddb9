"""Weights between those before training and those after it (WiSE-FT, Wortsman et al. 2022, arXiv 2109.01903)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch

from langtailor.distillation.student import State, Student
from langtailor.distillation.validation import Validation, main_process_value

_LOG = logging.getLogger("langtailor")


def best_interpolation(
    student: Student,
    clone: State,
    shares: Sequence[float],
    validate: Callable[[], Validation | None],
    keep: str,
) -> tuple[float, Validation | None]:
    """Move a trained student towards the clone, by the share that is best on the validation split.

    Args:
        student: the student with its trained weights; gets the interpolated ones.
        clone: the weights before training.
        shares: of the way from the clone to the trained weights, to choose from; one is taken without a comparison.
        validate: validates the student as it is; gives nothing where there is no validation split.
        keep: what is compared: ``loss``, ``cosine`` or ``sts``.

    Returns:
        The share, and the validation of the interpolated student.
    """
    trained = student.state()
    validations = {}
    for share in shares:
        student.load(_between(clone, trained, share))
        validation = validations[share] = validate()
        if validation is not None:
            _LOG.info("interpolation %g: validation loss %.5f", share, validation.overall.loss)
    best = shares[0]
    if len(validations) > 1:
        costs = {share: validation.cost(keep) for share, validation in validations.items() if validation is not None}
        best = main_process_value(min(costs, key=costs.__getitem__))
        student.load(_between(clone, trained, best))
    return best, validations[best]


def _between(start: State, end: State, share: float) -> State:
    """The weights that lie a share of the way from some to others."""
    return {name: torch.lerp(value, end[name], share) for name, value in start.items()}
