"""What a term of the distillation loss is, and the registry of those that there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from torch import Tensor

_TERMS: dict[str, type[Term]] = {}


@dataclass(frozen=True)
class Targets:
    """What the student's vectors of some passages are compared with, a row a passage.

    Attributes:
        teacher: the teacher's stored vectors of the same passages; float32, shape (n, d).
        texts: numbers of the texts that the teacher read for them, equal for equal texts; int64, shape (n,).
        candidates: in retrieval, the teacher's stored vectors of documents that may answer a query, or of queries that a
            document may answer, the right one first; float32, shape (n, k, d).
        present: which of the candidates there are; bool, shape (n, k). Where the first is missing, no right one is known.
    """

    teacher: Tensor
    texts: Tensor
    candidates: Tensor | None = None
    present: Tensor | None = None

    def __getitem__(self, rows: slice) -> Targets:
        """Those of some passages."""
        return Targets(
            self.teacher[rows],
            self.texts[rows],
            None if self.candidates is None else self.candidates[rows],
            None if self.present is None else self.present[rows],
        )

    def truncated(self, width: int) -> Targets:
        """The same with the first ``width`` components of each vector, scaled to length 1."""
        from torch.nn import functional

        teacher, candidates = (
            None if vectors is None else functional.normalize(vectors[..., :width], dim=-1)
            for vectors in (self.teacher, self.candidates)
        )
        assert teacher is not None
        return replace(self, teacher=teacher, candidates=candidates)


class Term(BaseModel, ABC):
    """A term of the loss. The class's docstring describes its weight to users, that of ``loss`` gives formula and source.

    Fields are parameters of the term, which stand beside its weight in the configuration.

    Attributes:
        name: key of its weight under ``distillation.objective``, and of its value in the metrics.
        default_weight: its weight where the configuration gives none.
        compares_passages: whether its value for a batch is not the mean of its values for parts of the batch.
        allows_other_width: whether the teacher's vectors may have another width than the student's.
        keeps_length: whether it depends on the length of the student's vectors.
        ranks_candidates: whether it compares with candidates, which only retrieval has.
        compares_hidden_states: whether it is given, in place of vectors, the errors of passages' hidden states.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    name: ClassVar[str]
    default_weight: ClassVar[float] = 0.0
    compares_passages: ClassVar[bool] = False
    allows_other_width: ClassVar[bool] = False
    keeps_length: ClassVar[bool] = False
    ranks_candidates: ClassVar[bool] = False
    compares_hidden_states: ClassVar[bool] = False

    @abstractmethod
    def loss(self, student: Tensor, targets: Targets) -> Tensor:
        """The term's value for a batch, a scalar.

        Args:
            student: the student's vectors, float32, shape (n, d); or the errors of its hidden states, shape (n, 1).
            targets: what they are compared with.
        """

    @classmethod
    def settings(cls) -> tuple[str, ...]:
        """What the term adds to ``distillation.objective``: its weight, then its parameters."""
        return cls.name, *cls.model_fields


TermT = TypeVar("TermT", bound=type[Term])


def objective_term(term: TermT) -> TermT:
    """Register a term; a decorator of its class.

    Raises:
        ValueError: one of its keys is another term's.
    """
    taken = {key for other in _TERMS.values() for key in other.settings()}
    if doubles := taken.intersection(term.settings()):
        raise ValueError(f"{term.__name__}: another objective term has the key {min(doubles)!r}")
    _TERMS[term.name] = term
    return term


def objective_terms() -> tuple[type[Term], ...]:
    """All registered terms, in the order of the configuration, in which they are also summed up.

    Terms with a default weight stand first, then those of single passages, those that compare passages and those that
    rank candidates; among equals those with fewer parameters.
    """

    def place(term: type[Term]) -> tuple[float, bool, bool, int, str]:
        parameters = len(term.settings())
        return -term.default_weight, term.ranks_candidates, term.compares_passages, parameters, term.name

    return tuple(sorted(_TERMS.values(), key=place))


def similarity_matrix(left: Tensor, right: Tensor) -> Tensor:
    """Cosine similarities of all pairs of rows; float32, shapes (n, d) and (m, d) to (n, m)."""
    from torch.nn import functional

    return functional.normalize(left) @ functional.normalize(right).T


def candidate_logits(vectors: Tensor, targets: Targets, temperature: float) -> Tensor:
    """Cosines of each vector to its candidates over the temperature; float32, shape (n, k).

    Candidates that are not there get so low a figure that their share of a softmax is 0, and no gradient is undefined.
    """
    import torch
    from torch.nn import functional

    assert targets.candidates is not None
    assert targets.present is not None
    cosines = torch.einsum(
        "nd,nkd->nk", functional.normalize(vectors), functional.normalize(targets.candidates, dim=-1)
    )
    return (cosines / temperature).masked_fill(~targets.present, torch.finfo(cosines.dtype).min)
