"""The relational term."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langtailor.objectives.term import Targets, Term, objective_term, similarity_matrix

if TYPE_CHECKING:
    from torch import Tensor


@objective_term
class Relational(Term):
    """Mean squared error of the batch's cosine-similarity matrices (the similarity loss of Stella and Jasper)."""

    name = "relational"
    compares_passages = True
    allows_other_width = True

    def loss(self, student: Tensor, targets: Targets) -> Tensor:
        """Mean of (ŝᵢ·ŝⱼ - t̂ᵢ·t̂ⱼ)² over all pairs of the batch, of vectors scaled to length 1.

        Stella and Jasper (arXiv 2412.19048) mix 10 x cosine with 200 x this.
        """
        from torch.nn import functional

        return functional.mse_loss(
            similarity_matrix(student, student), similarity_matrix(targets.teacher, targets.teacher)
        )
