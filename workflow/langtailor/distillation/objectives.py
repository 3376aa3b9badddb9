"""The terms of the distillation loss.

All terms compare student vectors ``s`` with the teacher's stored vectors ``t`` of the same passages, both float32 of
shape (n, d), and return a scalar. ``ŝ`` and ``t̂`` are the vectors scaled to length 1.

To add a term: write its function here, give it a weight in
:class:`~langtailor.config.distillation.ObjectiveSettings`, and enter it in :meth:`Objective._terms`. A term that
compares passages with one another also belongs in ``_ACROSS_PASSAGES``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from langtailor.config.distillation import ObjectiveSettings
from langtailor.errors import ConfigError

#: Terms whose value for a batch is not the mean of its parts' values.
_ACROSS_PASSAGES = ("relational", "contrastive")
#: Teacher vectors with this cosine belong to the same text; float16 storage alone costs less than 1e-6.
_SAME_TEXT = 0.9999


def cosine_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean of 1 - cos(s, t): the loss of the paper (arXiv 2605.29992), and of Stella and Jasper (arXiv 2412.19048)."""
    return 1 - functional.cosine_similarity(student, teacher).mean()


def mse_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean of (s - t)² over passages and dimensions (Reimers and Gurevych 2020, arXiv 2004.09813, equation 1)."""
    return functional.mse_loss(student, teacher)


def relational_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean of (ŝᵢ·ŝⱼ - t̂ᵢ·t̂ⱼ)² over all pairs of the batch.

    The similarity loss of Stella and Jasper (arXiv 2412.19048), which mixes 10 x cosine with 200 x this. The two
    widths may differ.
    """
    return functional.mse_loss(_similarities(student, student), _similarities(teacher, teacher))


def contrastive_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Mean of -log(exp(ŝᵢ·t̂ᵢ / τ) / Σⱼ exp(ŝᵢ·t̂ⱼ / τ)): InfoNCE (van den Oord et al. 2018, arXiv 1807.03748).

    The other passages' stored vectors are the negatives. Those of the same text, which a parallel corpus holds once a
    language, are left out of the sum: nothing could tell them apart.
    """
    logits = _similarities(student, teacher) / temperature
    same = _similarities(teacher, teacher) > _SAME_TEXT
    same.fill_diagonal_(False)
    return functional.cross_entropy(
        logits.masked_fill(same, -torch.inf), torch.arange(len(logits), device=logits.device)
    )


@dataclass(frozen=True)
class Objective:
    """The weighted sum of the terms, as configured.

    At a Matryoshka dimension m all terms are also taken on the first m components, scaled to length 1 (Kusupati et al.
    2022, arXiv 2205.13147); the loss is the mean over the dimensions, so that their number does not scale it.
    """

    settings: ObjectiveSettings

    @property
    def looks_across_passages(self) -> bool:
        """Whether the loss of a batch is more than the mean over its passages."""
        return any(getattr(self.settings, term) for term in _ACROSS_PASSAGES)

    def check_dimension(self, dimension: int) -> None:
        """Raise :class:`~langtailor.errors.ConfigError` for a Matryoshka dimension that is too large."""
        for wanted in self.settings.matryoshka:
            if wanted >= dimension:
                raise ConfigError(
                    "distillation.objective.matryoshka",
                    f"found {wanted}; the vectors have {dimension} dimensions, give smaller ones",
                )

    def __call__(self, student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """The loss and its unweighted terms.

        Args:
            student: float32, shape (n, d).
            teacher: float32, shape (n, d).

        Returns:
            Scalars: ``loss``, which carries gradients, and each term with a weight, averaged over the dimensions.
        """
        parts = [self._terms(student, teacher, teacher)]
        for width in self.settings.matryoshka:
            small, small_teacher = (functional.normalize(vectors[:, :width]) for vectors in (student, teacher))
            whole = self.settings.matryoshka_similarities == "full"
            parts.append(self._terms(small, small_teacher, teacher if whole else small_teacher))
        terms = {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
        return {"loss": self._weighted(terms), **{name: term.detach() for name, term in terms.items()}}

    def _terms(self, student: Tensor, teacher: Tensor, relations: Tensor) -> dict[str, Tensor]:
        settings, terms = self.settings, {}
        if settings.cosine:
            terms["cosine"] = cosine_loss(student, teacher)
        if settings.mse:
            terms["mse"] = mse_loss(student, teacher)
        if settings.relational:
            terms["relational"] = relational_loss(student, relations)
        if settings.contrastive:
            terms["contrastive"] = contrastive_loss(student, teacher, settings.temperature)
        return terms

    def _weighted(self, terms: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([getattr(self.settings, name) * term for name, term in terms.items()]).sum()


def _similarities(left: Tensor, right: Tensor) -> Tensor:
    return functional.normalize(left) @ functional.normalize(right).T
