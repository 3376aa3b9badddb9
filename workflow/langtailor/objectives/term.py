"""What a term of the distillation loss is, and the registry of those that there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from torch import Tensor

_TERMS: dict[str, type[Term]] = {}


class Term(BaseModel, ABC):
    """A term of the loss. The class's docstring describes its weight to users, that of ``loss`` gives formula and source.

    Fields are parameters of the term, which stand beside its weight in the configuration.

    Attributes:
        name: key of its weight under ``distillation.objective``, and of its value in the metrics.
        default_weight: its weight where the configuration gives none.
        compares_passages: whether its value for a batch is not the mean of its values for parts of the batch.
        allows_other_width: whether the teacher's vectors may have another width than the student's.
        keeps_length: whether it depends on the length of the student's vectors.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    name: ClassVar[str]
    default_weight: ClassVar[float] = 0.0
    compares_passages: ClassVar[bool] = False
    allows_other_width: ClassVar[bool] = False
    keeps_length: ClassVar[bool] = False

    @abstractmethod
    def loss(self, student: Tensor, teacher: Tensor, texts: Tensor) -> Tensor:
        """The term's value for a batch, a scalar.

        Args:
            student: the student's vectors; float32, shape (n, d).
            teacher: the teacher's stored vectors of the same passages; float32, shape (n, d).
            texts: numbers of the texts that the teacher read for them, equal for equal texts; int64, shape (n,).
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

    Terms with a default weight stand first, then those of single passages, then those that compare passages; among
    equals those with fewer parameters.
    """

    def place(term: type[Term]) -> tuple[float, bool, int, str]:
        return -term.default_weight, term.compares_passages, len(term.settings()), term.name

    return tuple(sorted(_TERMS.values(), key=place))


def similarity_matrix(left: Tensor, right: Tensor) -> Tensor:
    """Cosine similarities of all pairs of rows; float32, shapes (n, d) and (m, d) to (n, m)."""
    from torch.nn import functional

    return functional.normalize(left) @ functional.normalize(right).T
