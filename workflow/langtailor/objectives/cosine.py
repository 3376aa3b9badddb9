"""The cosine term."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langtailor.objectives.term import Targets, Term, objective_term

if TYPE_CHECKING:
    from torch import Tensor


@objective_term
class Cosine(Term):
    """1 - cos(student, teacher): the paper's loss."""

    name = "cosine"
    default_weight = 1.0

    def loss(self, student: Tensor, targets: Targets) -> Tensor:
        """Mean of 1 - cos(s, t): the loss of the paper (arXiv 2605.29992), and of Stella and Jasper (arXiv 2412.19048)."""
        from torch.nn import functional

        return 1 - functional.cosine_similarity(student, targets.teacher).mean()
