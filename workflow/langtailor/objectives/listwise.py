"""The listwise term."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from langtailor.objectives.term import Targets, Term, candidate_logits, objective_term

if TYPE_CHECKING:
    from torch import Tensor


@objective_term
class Listwise(Term):
    """Kullback-Leibler divergence of the student's scores of the candidates from the teacher's; only in `retrieval`."""

    name = "listwise"
    ranks_candidates = True

    listwise_temperature: Annotated[float, Field(gt=0)] = 0.02
    """Temperature of the listwise term."""

    def loss(self, student: Tensor, targets: Targets) -> Tensor:
        """Mean of Σⱼ pⱼ log(pⱼ / qⱼ), with p = softmax(t̂·ĉⱼ / τ) and q = softmax(ŝ·ĉⱼ / τ) over a passage's candidates c.

        ListNet's loss (Cao et al. 2007, https://doi.org/10.1145/1273496.1273513) as rankers are distilled by it; both
        sides score the teacher's stored vectors.
        """
        from torch.nn import functional

        ours = candidate_logits(student, targets, self.listwise_temperature).log_softmax(dim=1)
        theirs = candidate_logits(targets.teacher, targets, self.listwise_temperature).log_softmax(dim=1)
        return functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)
