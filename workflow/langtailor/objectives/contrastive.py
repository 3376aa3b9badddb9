"""The contrastive term."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from langtailor.objectives.term import Term, objective_term, similarity_matrix

if TYPE_CHECKING:
    from torch import Tensor

#: Teacher vectors with this cosine belong to the same text; float16 storage alone costs less than 1e-6.
_SAME_TEXT = 0.9999


@objective_term
class Contrastive(Term):
    """InfoNCE of each student vector against the batch's stored teacher vectors."""

    name = "contrastive"
    compares_passages = True

    temperature: Annotated[float, Field(gt=0)] = 0.05
    """Temperature of the contrastive term."""

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Mean of -log(exp(ŝᵢ·t̂ᵢ / τ) / Σⱼ exp(ŝᵢ·t̂ⱼ / τ)) (van den Oord et al. 2018, arXiv 1807.03748).

        The other passages' stored vectors are the negatives. Those of the same text, which a parallel corpus holds once
        a language, are left out of the sum: nothing could tell them apart.
        """
        import torch
        from torch.nn import functional

        logits = similarity_matrix(student, teacher) / self.temperature
        same = similarity_matrix(teacher, teacher) > _SAME_TEXT
        same.fill_diagonal_(False)
        negatives_masked = logits.masked_fill(same, -torch.inf)
        return functional.cross_entropy(negatives_masked, torch.arange(len(logits), device=logits.device))
