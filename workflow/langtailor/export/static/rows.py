"""The rows of a static model: one vector a token, whose mean over a text's tokens comes nearest to the student's vector.

With the tokens fixed that is a linear least-squares problem, whose best solution is computed and not trained towards: of all
rows W those with the least ``|A W - Y|^2 + r |W - P|^2``. A row of A holds the share of each token in a text, a row of Y the
student's vector less the mean of all. Without the mean the rows tell texts apart; with it they would first of all say what all
vectors share.

P is the prior: the row of a token that the texts rarely or never contain stays close to it. It is what model2vec makes a model
of: the student's vector of the token alone, less their mean, weighted by how rare it is (smooth inverse frequency, Arora et al.
2017).

In the end the rows are whitened in part (Su et al. 2021, arXiv 2103.15316). A mean of rows says less about a text than an
encoder's vector, and what it says of the few directions in which texts differ most, such as their language and length,
outweighs the rest in a cosine. Whitening in full would make as much of noise as of meaning.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from langtailor.models.similarity import COSINE, unit
from langtailor.storage.batching import batched

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_LOG = logging.getLogger("langtailor")
#: Strengths of the ridge that are tried, by the texts that are held out for that.
_RIDGES = (0.003, 0.01, 0.03, 0.1)
_HELD_OUT = 0.05
#: Steps of the conjugate gradients, and the size of the gradient at which they end.
_STEPS, _TOLERANCE = 60, 1e-5
_TEXTS_AT_ONCE = 2_000
#: The standard deviation of the texts' vectors in each principal direction is raised to 1 minus this. Chosen by pairs of STS
#: train that nothing was fitted on (docs/smaller.md).
_WHITENING = 0.3
#: Least share of the largest standard deviation that counts: few texts leave directions empty, which must not be magnified.
_LEAST_DEVIATION = 0.03
#: Share of all tokens at which a token's weight is half.
_FREQUENT = 1e-3

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class StaticRows:
    """What was found.

    Attributes:
        rows: float32, shape (tokens, d).
        ridge: the strength of the ridge that was best.
        tried: mean cosine on the texts held out, by strength.
    """

    rows: Vectors
    ridge: float
    tried: dict[float, float]


def fit_rows(shares: Any, vectors: Vectors, single: Vectors) -> StaticRows:
    """Find the rows.

    Args:
        shares: the share of each token in each text, of :func:`token_shares`; the texts are in no particular order.
        vectors: the student's vectors of the texts, float32, shape (texts, d).
        single: the student's vector of each token alone, float32, shape (tokens, d).

    Returns:
        The rows, fitted on all texts with the strength that was best on those held out.
    """
    targets = centred(vectors)
    prior = prior_rows(shares, targets, single)
    missing = targets - shares @ prior
    held_out = max(1, round(_HELD_OUT * len(vectors)))
    tried = {}
    for ridge in _RIDGES:
        rows = prior + _least_squares(shares[held_out:], missing[held_out:], ridge)
        cosines = COSINE.pairs(unit(shares[:held_out] @ rows), unit(targets[:held_out]))
        tried[ridge] = round(float(cosines.mean()), 6)
        _LOG.info("ridge %g: mean cosine %.4f on %s texts held out", ridge, tried[ridge], f"{held_out:,}")
    best = max(tried, key=tried.__getitem__)
    return StaticRows(prior + _least_squares(shares, missing, best), best, tried)


def partly_whitened(rows: Vectors, vectors: Vectors) -> Vectors:
    """Rows in which the principal directions of the texts' vectors weigh more alike; the directions stay where they are.

    Args:
        rows: float32, shape (tokens, d).
        vectors: the texts' vectors by these rows, float32, shape (texts, d).

    Returns:
        float32, shape (tokens, d).
    """
    squares, directions = np.linalg.eigh((vectors.T @ vectors).astype(np.float64))
    deviations = np.sqrt(np.maximum(squares, 0))
    largest = max(float(deviations.max(initial=0)), float(np.finfo(np.float32).tiny))
    scale = np.maximum(deviations / largest, _LEAST_DEVIATION) ** -_WHITENING
    return np.asarray(rows @ (directions * scale @ directions.T), np.float32)


def prior_rows(shares: Any, targets: Vectors, single: Vectors) -> Vectors:
    """Rows before any text is read: those of tokens alone, the frequent ones shorter, scaled to the length of the targets."""
    frequency = np.asarray(shares.mean(axis=0), np.float32).ravel()
    rows = centred(single) * (_FREQUENT / (_FREQUENT + frequency))[:, None]
    wanted, length = (float(np.linalg.norm(each, axis=1).mean()) for each in (targets, shares @ rows))
    return np.asarray(rows * (wanted / max(length, float(np.finfo(np.float32).tiny))), np.float32)


def centred(vectors: Vectors) -> Vectors:
    """Vectors of length 1 less their mean; float32, shape (n, d)."""
    units = unit(vectors)
    return np.asarray(units - units.mean(axis=0), np.float32)


def token_shares(tokenizer: Tokenizer, texts: Sequence[str]) -> Any:
    """The share of each token in each text; a scipy CSR matrix, float32, shape (texts, tokens)."""
    from scipy.sparse import csr_matrix

    ids, ends = [], [0]
    for batch in batched(texts, _TEXTS_AT_ONCE):
        for encoding in tokenizer.encode_batch(list(batch), add_special_tokens=False):
            ids.append(np.array(encoding.ids, np.int32))
            ends.append(ends[-1] + len(encoding.ids))
    lengths = np.diff(ends)
    values = np.repeat(1 / np.maximum(lengths, 1), lengths).astype(np.float32)
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    return csr_matrix((values, np.concatenate([*ids, np.empty(0, np.int32)]), ends), shape=(len(texts), size))


def _least_squares(shares: Any, targets: Vectors, ridge: float) -> Vectors:
    """The solution, by conjugate gradients on the normal equations (Hestenes and Stiefel 1952), all columns at once."""
    transposed = shares.T.tocsr()
    rows = np.zeros((shares.shape[1], targets.shape[1]), np.float32)
    residual = transposed @ targets
    direction, size = residual.copy(), np.square(residual).sum(axis=0)
    for _ in range(_STEPS):
        image = transposed @ (shares @ direction) + np.float32(ridge) * direction
        step = size / np.maximum((direction * image).sum(axis=0), np.finfo(np.float32).tiny)
        rows += step * direction
        residual -= step * image
        previous, size = size, np.square(residual).sum(axis=0)
        if np.sqrt(size.max()) < _TOLERANCE:
            break
        direction = residual + size / np.maximum(previous, np.finfo(np.float32).tiny) * direction
    return rows
