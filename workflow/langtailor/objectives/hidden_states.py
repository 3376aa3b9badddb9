"""The term of hidden states."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langtailor.objectives.term import Targets, Term, objective_term

if TYPE_CHECKING:
    from torch import Tensor


@objective_term
class HiddenStates(Term):
    """Relative squared error of the hidden states to those of the clone with all layers; only with `student.layers`."""

    name = "hidden_states"
    compares_hidden_states = True

    def loss(self, student: Tensor, targets: Targets) -> Tensor:
        """Mean of the passages' errors (:class:`langtailor.distillation.hidden_states.HiddenStateErrors`), shape (n, 1).

        After PKD (Sun et al. 2019, arXiv 1908.09355) and TinyBERT (Jiao et al. 2020, arXiv 1909.10351).
        """
        return student.mean()
