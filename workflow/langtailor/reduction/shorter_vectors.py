"""A projection to fewer dimensions that keeps what the teacher's vectors say of near texts.

Principal components keep the vectors' inner products as well as any projection can, but over all pairs, most of which have
nothing to do with one another, and before vectors are scaled to length 1. What a model is used for are the cosines of near
texts. So the projection starts at the components and is fitted to the cosines of stored vectors to their nearest neighbours.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from langtailor.errors import ConfigError
from langtailor.models.nearest import nearest_others
from langtailor.models.similarity import unit
from langtailor.vectors.store import VectorStore

_LOG = logging.getLogger("langtailor")
Vectors = NDArray[np.float32]
_ROWS_AT_ONCE = 8_192
#: Vectors that a projection is fitted on, and of each the neighbours; one vector in ``_HELD_OUT`` is for the comparison alone.
_VECTORS, _NEIGHBOURS, _HELD_OUT = 16_384, 8, 10
_STEPS, _BATCH, _RATE = 800, 256, 1e-3


@dataclass(frozen=True)
class Projection:
    """A projection to fewer dimensions.

    Attributes:
        weights: float32, shape (dimensions, d).
        retained: share of the vectors' squared length that as many principal components hold.
        components_error: root mean square of the change of the cosines of near vectors by the principal components; 0 where
            nothing was compared.
        error: the same by the projection.
    """

    weights: Vectors
    retained: float
    components_error: float = 0.0
    error: float = 0.0


def shorten(stores: Sequence[VectorStore], dimensions: int, *, compares_length: bool) -> Projection:
    """The projection of vectors to fewer dimensions.

    Args:
        stores: the vectors; each counts as much as any other.
        dimensions: how many.
        compares_length: whether the model compares vectors by more than their cosine: then the principal components are taken,
            which keep inner products.

    Raises:
        ConfigError: the vectors are not longer than that, or there is none.
    """
    components, retained = principal_components(stores, dimensions)
    _LOG.info("%d principal components hold %.1f %% of the vectors' squared length", dimensions, 100 * retained)
    if compares_length:
        return Projection(components, retained)
    vectors = np.unique(_spread(stores), axis=0)
    if len(vectors) <= 2 * _HELD_OUT:
        return Projection(components, retained)
    fitted, (before, after) = fit_to_neighbours(vectors, components)
    _LOG.info("cosines of near vectors change by %.4f, and by %.4f after fitting", before, after)
    return Projection(fitted if after < before else components, retained, before, min(before, after))


def principal_components(stores: Sequence[VectorStore], dimensions: int) -> tuple[Vectors, float]:
    """The directions in which vectors of length 1 have most of their squared length.

    They are those of the vectors as they are, not of their distances to the mean: so inner products are kept as well as any
    projection of that length can keep them.

    Args:
        stores: the vectors; each counts as much as any other.
        dimensions: how many directions.

    Returns:
        float32, shape (dimensions, d), orthonormal rows, the first one first, each with its largest number positive; and the
        share of the squared length that they hold.

    Raises:
        ConfigError: the vectors are not longer than that, or there is none.
    """
    moments: NDArray[np.float64] | None = None
    for store in stores:
        for start in range(0, len(store), _ROWS_AT_ONCE):
            rows = np.arange(start, min(start + _ROWS_AT_ONCE, len(store)))
            vectors = unit(store.take(rows)).astype(np.float64)
            product = vectors.T @ vectors
            moments = product if moments is None else moments + product
    if moments is None:
        raise ConfigError("corpus.quotas.train", "there is no passage to compute `student.dimensions` from")
    if dimensions >= len(moments):
        raise ConfigError("student.dimensions", f"found {dimensions}, but the teacher's vectors have {len(moments)}")
    values, vectors = np.linalg.eigh(moments)
    components = vectors.T[::-1][:dimensions]
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    share = float(values[::-1][:dimensions].sum() / values.sum())
    return (components * np.sign(largest)).astype(np.float32), share


def _spread(stores: Sequence[VectorStore]) -> Vectors:
    """Up to ``_VECTORS`` vectors of length 1, taken evenly over all stores."""
    total = sum(map(len, stores))
    shares = [min(len(store), -(-len(store) * _VECTORS // total)) for store in stores]
    rows = [np.linspace(0, len(store) - 1, share).astype(np.int64) for store, share in zip(stores, shares, strict=True)]
    return np.concatenate([unit(store.take(chosen)) for store, chosen in zip(stores, rows, strict=True)])


def fit_to_neighbours(vectors: Vectors, start: Vectors) -> tuple[Vectors, tuple[float, float]]:
    """Fit a projection to the cosines of vectors to their nearest neighbours, by the mean squared error.

    Args:
        vectors: distinct, of length 1; shape (n, d), n over 1.
        start: shape (k, d).

    Returns:
        The projection, shape (k, d); and the root mean square of the change of these cosines by ``start`` and by the
        projection, for vectors that it was not fitted to.
    """
    rows, neighbours = torch.from_numpy(vectors), torch.from_numpy(nearest_others(vectors, _NEIGHBOURS))
    is_held_out = torch.arange(len(rows)) % _HELD_OUT == 0
    training, held_out = (torch.nonzero(mask).squeeze(1) for mask in (~is_held_out, is_held_out))
    first = torch.from_numpy(start)
    weights = first.clone().requires_grad_(True)
    optimiser = torch.optim.Adam([weights], _RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, _STEPS)
    generator = torch.Generator().manual_seed(0)
    for _ in range(_STEPS):
        batch = training[torch.randint(len(training), (_BATCH,), generator=generator)]
        loss = _change(weights, rows[batch], rows[neighbours[batch]])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    fitted = weights.detach()
    fitted *= torch.linalg.norm(rows @ first.T) / torch.linalg.norm(rows @ fitted.T)  # cosines do not say how long
    before, after = (
        float(_change(each, rows[held_out], rows[neighbours[held_out]]).sqrt()) for each in (first, fitted)
    )
    return fitted.numpy(), (before, after)


def _change(weights: Tensor, vectors: Tensor, neighbours: Tensor) -> Tensor:
    """Mean square of the change of cosines by a projection; of vectors, shape (n, d), to neighbours, shape (n, k, d)."""
    cosines = torch.einsum("nd,nkd->nk", vectors, neighbours)
    shorter = functional.normalize(vectors @ weights.T), functional.normalize(neighbours @ weights.T, dim=-1)
    return functional.mse_loss(torch.einsum("nd,nkd->nk", *shorter), cosines)
