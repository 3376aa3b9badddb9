"""What a text loses where its tokens are replaced.

A token that is not kept takes no text with it: other tokens write it. How well these stand in is read off the teacher's
own rows. ``doses`` cut into ``dose ##s`` loses little; ``aristotle`` cut into ``aris ##tot ##le`` loses nearly all.
"""

from __future__ import annotations

from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from langtailor.surgery.base import Family, Ids
from langtailor.surgery.segmentation import segment

#: Tokens compared at a time: they bound the memory.
_AT_ONCE = 8_192


def replacement_cost(family: Family, table: torch.Tensor, kept: Ids) -> NDArray[np.float64]:
    """How far the row of each token that is not kept is from what would stand in for it.

    Args:
        family: the teacher's tokenizer.
        table: the teacher's input embeddings, shape (teacher rows, d).
        kept: sorted teacher ids as for :meth:`~langtailor.surgery.base.Family.layout`.

    Returns:
        By teacher id, shape (tokens,): 1 - the cosine of the token's row to the mean of those of the pieces into which the
        kept tokens cut it, squared, so that a token of which the pieces still tell something yields to one of which
        they tell nothing. 0 for kept tokens, 1 where nothing stands in.
    """
    layout = family.layout(kept, (), 0)
    others = np.setdiff1d([i for i, token in enumerate(family.tokens[: len(table)]) if token is not None], kept)
    names = [str(family.tokens[i]) for i in others.tolist()]
    pieces = [layout.teacher_ids[list(ids)] for ids in segment(family.write(layout).tokenizer, names)]
    loss = np.ones(len(family.tokens))
    loss[kept] = 0
    written = np.flatnonzero([len(ids) and ids.max() < len(table) for ids in pieces])
    for part in np.array_split(written, len(written) // _AT_ONCE + 1):
        loss[others[part]] = _loss(table, others[part], [pieces[i] for i in part.tolist()])
    return loss


def _loss(table: torch.Tensor, tokens: NDArray[np.int64], pieces: list[Ids]) -> NDArray[np.float64]:
    if not len(tokens):
        return np.zeros(0)
    starts = np.cumsum([0, *(len(ids) for ids in pieces[:-1])])
    rows = table[torch.from_numpy(np.fromiter(chain.from_iterable(pieces), np.int64))].float()
    means = functional.embedding_bag(torch.arange(len(rows)), rows, torch.from_numpy(starts), mode="mean")
    cosines = functional.cosine_similarity(means, table[torch.from_numpy(tokens)].float())
    return np.asarray((1 - cosines).square().double().numpy(), np.float64)
