"""The distillation loss: the weighted sum of the terms in :mod:`langtailor.objectives`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from langtailor.config.distillation import ObjectiveSettings
from langtailor.errors import ConfigError
from langtailor.models.similarity import Similarity
from langtailor.objectives.term import Targets, objective_terms

_LOG = logging.getLogger("langtailor")


@dataclass(frozen=True)
class Objective:
    """The weighted sum of the terms, as configured.

    At a Matryoshka dimension m all terms are also taken on the first m components, scaled to length 1 (Kusupati et al.
    2022, arXiv 2205.13147); the loss is the mean over the dimensions, so that their number does not scale it.
    """

    settings: ObjectiveSettings

    @property
    def compares_passages(self) -> bool:
        """Whether the loss of a batch is more than the mean over its passages."""
        return any(term.compares_passages for term, _ in self.settings.weighted_terms())

    def warn_of_free_length(self, similarity: Similarity) -> None:
        """Warn where the model compares the length of vectors, which no term keeps.

        Args:
            similarity: how the model compares vectors.
        """
        if similarity.compares_length and not any(term.keeps_length for term, _ in self.settings.weighted_terms()):
            keeping = ", ".join(f"`{term.name}`" for term in objective_terms() if term.keeps_length)
            _LOG.warning(
                "the teacher compares vectors by %s, which depends on their length, but no term of the objective "
                "preserves it: give %s a weight",
                similarity.label,
                keeping,
            )

    def check_dimension(self, dimension: int, section: str) -> None:
        """Raise :class:`~langtailor.errors.ConfigError` for a Matryoshka dimension of a section that is too large."""
        for width in self.settings.matryoshka:
            if width >= dimension:
                raise ConfigError(
                    f"{section}.objective.matryoshka",
                    f"found {width}; the vectors have {dimension} dimensions, give smaller ones",
                )

    def __call__(self, outputs: Tensor, targets: Targets) -> dict[str, Tensor]:
        """The loss and its unweighted terms.

        Args:
            outputs: the student's vectors, float32, shape (n, d); or with the errors of its hidden states, shape (n, d + 1).
            targets: what these vectors are compared with.

        Returns:
            Scalars: ``loss``, which carries gradients, and each term with a weight, averaged over the dimensions.
        """
        dimension = targets.teacher.shape[1]
        student, state_errors = outputs[:, :dimension], outputs[:, dimension:]
        parts = [self._losses(student, state_errors, targets, targets.teacher)]
        for width in self.settings.matryoshka:
            small, small_targets = functional.normalize(student[:, :width]), targets.truncated(width)
            whole = self.settings.matryoshka_similarities == "full"
            any_width = targets.teacher if whole else small_targets.teacher
            parts.append(self._losses(small, state_errors, small_targets, any_width))
        losses = {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
        return {"loss": self._weighted(losses), **{name: loss.detach() for name, loss in losses.items()}}

    def _losses(self, student: Tensor, state_errors: Tensor, targets: Targets, any_width: Tensor) -> dict[str, Tensor]:
        """Each term's value; terms that allow another width are given the teacher's vectors ``any_width``."""
        other = replace(targets, teacher=any_width)
        losses = {}
        for term, _ in self.settings.weighted_terms():
            compared = state_errors if term.compares_hidden_states else student
            losses[term.name] = term.loss(compared, other if term.allows_other_width else targets)
        return losses

    def _weighted(self, losses: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([weight * losses[term.name] for term, weight in self.settings.weighted_terms()]).sum()
