"""How a model's vectors are compared: by cosine, dot product or distance, as sentence-transformers defines these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Names under ``similarity_fn_name`` in ``config_sentence_transformers.json``.
SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")


@dataclass(frozen=True)
class Similarity:
    """One way of comparing vectors; the higher the figure, the more alike they are.

    Attributes:
        name: one of :data:`SIMILARITIES`. The distances are taken with a minus sign.
    """

    name: str = "cosine"

    @property
    def label(self) -> str:
        """The name in words."""
        return {"cosine": "cosine", "dot": "dot product"}.get(self.name, f"{self.name.capitalize()} distance")

    @property
    def compares_length(self) -> bool:
        """Whether the length of a vector counts."""
        return self.name != "cosine"

    def prepare(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors as :meth:`pairs` and :meth:`matrix` take them: of length 1 for the cosine; float32, shape (n, d)."""
        return vectors if self.compares_length else unit(vectors)

    def pairs(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
        """Similarity of each row to the same row of the other; float32, shapes (n, d), to float64, shape (n,)."""
        if self.name in ("cosine", "dot"):
            return np.asarray(np.einsum("nd,nd->n", first, second, dtype=np.float64))
        import torch
        from sentence_transformers import SimilarityFunction

        compare = SimilarityFunction.to_similarity_pairwise_fn(self.name)
        return np.asarray(compare(torch.from_numpy(first), torch.from_numpy(second)).numpy(), np.float64)

    def matrix(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
        """Similarity of all pairs of rows; float32, shapes (n, d) and (m, d) to (n, m)."""
        if self.name in ("cosine", "dot"):
            return first @ second.T
        import torch
        from sentence_transformers import SimilarityFunction

        compare = SimilarityFunction.to_similarity_fn(self.name)
        return np.asarray(compare(torch.from_numpy(first), torch.from_numpy(second)).numpy(), np.float32)


#: For tasks that are defined by the cosine, whatever the model compares by.
COSINE = Similarity()


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to length 1; zero rows stay zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)
