"""The mean squared error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langtailor.objectives.term import Targets, Term, objective_term

if TYPE_CHECKING:
    from torch import Tensor


@objective_term
class MeanSquaredError(Term):
    """Mean squared error of the vectors (Reimers and Gurevych 2020)."""

    name = "mse"
    keeps_length = True

    def loss(self, student: Tensor, targets: Targets) -> Tensor:
        """Mean of (s - t)² over passages and dimensions (arXiv 2004.09813, equation 1)."""
        from torch.nn import functional

        return functional.mse_loss(student, targets.teacher)
