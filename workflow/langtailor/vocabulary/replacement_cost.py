"""What a text loses where a token is replaced by the pieces into which the kept tokens segment it.

How good a replacement is can be read off the teacher's rows. ``doses`` as ``dose ##s`` loses little; ``aristotle`` as
``aris ##tot ##le`` loses nearly everything.
"""

from __future__ import annotations

from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from langtailor.surgery.base import Family, Ids
from langtailor.surgery.segmentation import segment

#: Tokens compared at a time, which bounds the memory.
_AT_ONCE = 8_192


def replacement_cost(family: Family, table: torch.Tensor, kept: Ids) -> NDArray[np.float64]:
    """How far the row of each token that is not kept is from the rows that would replace it.

    Args:
        family: the teacher's tokenizer.
        table: the teacher's input embeddings, shape (teacher rows, d).
        kept: sorted teacher ids as for :meth:`~langtailor.surgery.base.Family.layout`.

    Returns:
        By teacher id, shape (tokens,): the square of 1 - the cosine of the token's row to the mean row of its pieces. The
        square favours tokens of which the pieces say nothing over those of which they still say something. 0 for kept
        tokens, 1 where nothing replaces the token.
    """
    layout = family.layout(kept, (), 0)
    dropped = np.setdiff1d([i for i, token in enumerate(family.tokens[: len(table)]) if token is not None], kept)
    names = [str(family.tokens[i]) for i in dropped.tolist()]
    pieces = [layout.teacher_ids[list(ids)] for ids in segment(family.write(layout).tokenizer, names)]
    cost = np.ones(len(family.tokens))
    cost[kept] = 0
    replaced = np.flatnonzero([len(ids) and ids.max() < len(table) for ids in pieces])
    for part in np.array_split(replaced, len(replaced) // _AT_ONCE + 1):
        cost[dropped[part]] = _squared_distances(table, dropped[part], [pieces[i] for i in part.tolist()])
    return cost


def _squared_distances(table: torch.Tensor, tokens: NDArray[np.int64], pieces: list[Ids]) -> NDArray[np.float64]:
    if not len(tokens):
        return np.zeros(0)
    starts = np.cumsum([0, *(len(ids) for ids in pieces[:-1])])
    rows = table[torch.from_numpy(np.fromiter(chain.from_iterable(pieces), np.int64))].float()
    means = functional.embedding_bag(torch.arange(len(rows)), rows, torch.from_numpy(starts), mode="mean")
    cosines = functional.cosine_similarity(means, table[torch.from_numpy(tokens)].float())
    return np.asarray((1 - cosines).square().double().numpy(), np.float64)
