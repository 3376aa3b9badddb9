"""The answer term."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from langtailor.objectives.term import Targets, Term, candidate_logits, objective_term

if TYPE_CHECKING:
    from torch import Tensor


@objective_term
class Answer(Term):
    """InfoNCE of a query's answer among its candidates, and of a document's query; only in `retrieval`."""

    name = "answer"
    ranks_candidates = True

    answer_temperature: Annotated[float, Field(gt=0)] = 0.02
    """Temperature of the answer term."""

    def loss(self, student: Tensor, targets: Targets) -> Tensor:
        """Mean of -log(exp(ŝ·ĉ₀ / τ) / Σⱼ exp(ŝ·ĉⱼ / τ)) over the passages, 0 for one whose right candidate c₀ is unknown.

        The other candidates are hard negatives, mined as in NV-Retriever (Moreira et al. 2024, arXiv 2407.15831). The mean is
        over all passages, so that parts of a batch add up to the whole.
        """
        import torch
        from torch.nn import functional

        assert targets.present is not None
        logits = candidate_logits(student, targets, self.answer_temperature)
        unknown = torch.where(targets.present[:, 0], 0, -100)  # which cross_entropy leaves out
        return functional.cross_entropy(logits, unknown, reduction="sum") / len(student)
