"""The contrastive term."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from langtailor.objectives.term import Targets, Term, objective_term, similarity_matrix

if TYPE_CHECKING:
    from torch import Tensor


@objective_term
class Contrastive(Term):
    """InfoNCE of each student vector against the batch's stored teacher vectors."""

    name = "contrastive"
    compares_passages = True

    temperature: Annotated[float, Field(gt=0)] = 0.05
    """Temperature of the contrastive term."""

    def loss(self, student: Tensor, targets: Targets) -> Tensor:
        """Mean of -log(exp(ŝᵢ·t̂ᵢ / τ) / Σⱼ exp(ŝᵢ·t̂ⱼ / τ)) (van den Oord et al. 2018, arXiv 1807.03748).

        The other passages' stored vectors are the negatives. Those of the same text, which a parallel corpus holds once
        a language, are left out of the sum: nothing could tell them apart.
        """
        import torch
        from torch.nn import functional

        logits = similarity_matrix(student, targets.teacher) / self.temperature
        positives = torch.arange(len(logits), device=logits.device)
        same_text = (targets.texts[:, None] == targets.texts) & (positives[:, None] != positives)
        return functional.cross_entropy(logits.masked_fill(same_text, -torch.inf), positives)
