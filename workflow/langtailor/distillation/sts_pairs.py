"""The STS dev set: sentence pairs with human scores on which validation measures the student."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from langtailor.config.sentence_pairs import StsPairs
from langtailor.distillation.tokens import Ids, Tokenizer
from langtailor.models.correlation import rowwise_spearman
from langtailor.models.folder import ModelInfo
from langtailor.models.length_batches import Rows
from langtailor.models.similarity import COSINE, Similarity
from langtailor.sources.sentence_pairs import SentencePairs, read_pairs
from langtailor.storage.artifacts import canonical_json
from langtailor.storage.batching import batched
from langtailor.storage.digests import sha256_bytes

#: Sentences tokenized at once.
_AT_ONCE = 256


@dataclass(frozen=True)
class StsDevSet:
    """Sentence pairs as the student's token ids.

    Attributes:
        tokens: token ids of each distinct sentence.
        first: row in ``tokens`` of each pair's first sentence; int64, shape (pairs,).
        second: the same of the second.
        gold: the human scores; float64, shape (pairs,).
        digest: SHA-256 of the pairs and their scores.
        similarity: how the model compares vectors.
    """

    tokens: tuple[Ids, ...]
    first: Rows
    second: Rows
    gold: NDArray[np.float64]
    digest: str
    similarity: Similarity = COSINE

    @property
    def lengths(self) -> Ids:
        """Tokens of each distinct sentence; int32, shape (sentences,)."""
        return np.array([len(ids) for ids in self.tokens], np.int32)

    def take(self, rows: Rows) -> list[Ids]:
        """Token ids of some of the sentences."""
        return [self.tokens[row] for row in rows]

    def spearman(self, vectors: Tensor) -> float:
        """Spearman's correlation, times 100, of the pairs' similarities with their scores; 0 where these are all equal.

        Args:
            vectors: of all distinct sentences; float32, shape (sentences, d).
        """
        return 100 * float(rowwise_spearman(self._similarities(vectors)[None], self.gold[None])[0])

    def _similarities(self, vectors: Tensor) -> NDArray[np.float64]:
        if self.similarity.compares_length:
            rows = vectors.cpu().numpy()
            return self.similarity.pairs(rows[self.first], rows[self.second])
        unit = functional.normalize(vectors).double()
        return np.asarray((unit[self.first] * unit[self.second]).sum(1).cpu().numpy())


def load_sts_dev_set(
    clone: Path, source: StsPairs, prompt: str | None, max_length: int | None, *, trust_remote_code: bool = False
) -> StsDevSet:
    """Read sentence pairs and tokenize them as the corpus is.

    Args:
        clone: the student's folder.
        source: where the pairs are.
        prompt: put before each sentence, as for :class:`~langtailor.distillation.tokens.Tokenizer`.
        max_length: tokens to which a sentence is truncated; ``None`` means the model's own limit.
        trust_remote_code: run Python code that comes with the model.

    Raises:
        SourceError: the pairs cannot be read.
        UnsupportedTokenizerError: the model needs more than ids to read a text.
    """
    pairs = read_pairs(source)
    sentences = list(dict.fromkeys((*pairs.first, *pairs.second)))
    row = {text: i for i, text in enumerate(sentences)}
    tokenizer = Tokenizer(clone, prompt, max_length, trust_remote_code=trust_remote_code)
    tokens: list[Ids] = []
    for texts in batched(sentences, _AT_ONCE):
        tokens += tokenizer(texts)
    first, second = (np.array([row[text] for text in side], np.int64) for side in (pairs.first, pairs.second))
    similarity = Similarity(ModelInfo.read(clone).similarity)
    return StsDevSet(tuple(tokens), first, second, pairs.gold, _digest(pairs), similarity)


def _digest(pairs: SentencePairs) -> str:
    return sha256_bytes(canonical_json([pairs.first, pairs.second, pairs.gold.tolist()]).encode())
