"""What the student's vectors of a batch are compared with, on the device."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from langtailor.distillation.data import Passages
from langtailor.distillation.student import to_device
from langtailor.models.length_batches import Rows
from langtailor.objectives.term import Targets


def targets_of(passages: Passages, rows: Rows, device: torch.device) -> Targets:
    """The stored vectors of some passages, and those of their candidates where they have some.

    Args:
        passages: where the rows are.
        rows: int64, shape (n,).
        device: the device of the tensors.
    """

    def on_device(array: NDArray[Any] | None) -> Tensor | None:
        return None if array is None else to_device(array, device)

    candidates, present = passages.candidates(rows)
    teacher, texts = (to_device(array, device) for array in (passages.targets(rows), passages.texts(rows)))
    return Targets(teacher, texts, on_device(candidates), on_device(present))
