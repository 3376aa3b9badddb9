"""AdamW over what a phase trains, and its state as plain tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from langtailor.config.distillation import DistillationSettings
from langtailor.distillation.student import Student


def make_optimizer(student: Student, settings: DistillationSettings) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) over the parameters that take gradients.

    Groups carry their ``name`` and ``peak`` rate. A row of the embedding table that never takes a gradient keeps
    its bits: its moments are zero, and the table has no weight decay.
    """
    rate = settings.learning_rate
    trained = [parameter for parameter in student.parameters().values() if parameter.requires_grad]
    backbone = [parameter for parameter in trained if parameter is not student.embedding]
    groups = [
        _group("embedding", [student.embedding], settings.embedding_learning_rate or rate, 0.0),
        _group("matrices", [parameter for parameter in backbone if parameter.ndim > 1], rate, settings.weight_decay),
        # Biases and the scales of norms.
        _group("vectors", [parameter for parameter in backbone if parameter.ndim < 2], rate, 0.0),
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], fused=True)


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> dict[str, float]:
    """Set each group's rate to ``factor`` x its peak, and return them by the groups' names."""
    for group in optimizer.param_groups:
        group["lr"] = factor * group["peak"]
    return {group["name"]: group["lr"] for group in optimizer.param_groups}


def optimizer_state(optimizer: torch.optim.Optimizer, student: Student) -> dict[str, Tensor]:
    """The optimiser's tensors as ``{parameter}/{entry}``, on the CPU."""
    return {
        f"{name}/{entry}": value.to("cpu", copy=True)
        for name, parameter in student.parameters().items()
        for entry, value in optimizer.state.get(parameter, {}).items()
    }


def load_optimizer_state(optimizer: torch.optim.Optimizer, student: Student, state: Mapping[str, Tensor]) -> None:
    """Inverse of :func:`optimizer_state`."""
    parameters = student.parameters()
    for key, value in state.items():
        name, _, entry = key.rpartition("/")
        parameter = parameters[name]
        optimizer.state[parameter][entry] = value.to(parameter.device)


def _group(name: str, parameters: list[torch.nn.Parameter], peak: float, weight_decay: float) -> dict[str, Any]:
    return {"name": name, "params": parameters, "peak": peak, "lr": peak, "weight_decay": weight_decay}
