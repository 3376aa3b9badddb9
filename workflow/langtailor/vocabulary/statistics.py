"""What the kept languages ask of a vocabulary: how often they use each token, and their words."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from langtailor.counts.count import read_counts
from langtailor.counts.words import WordReader
from langtailor.models.tokenizer_file import tokenizer_of
from langtailor.surgery.base import Family, Ids
from langtailor.surgery.spelling import spelling_of
from langtailor.surgery.unknowns import unknown_id
from langtailor.surgery.word_models import encode_words, model_of, word_tokenizer

_LOG = logging.getLogger("langtailor")
Uses = Mapping[str, NDArray[np.int64]]


@dataclass(frozen=True)
class CorpusStatistics:
    """What the kept languages ask of a vocabulary.

    Attributes:
        uses: uses of each teacher token in the train split by language; int64, shape (tokens,).
        weights: weight of each of these languages.
        words: pieces of the target languages' train split with their uses, as :meth:`Family.words` gives them.
        rows: rows of the teacher's embedding table. EmbeddingGemma's tokenizer names one special token more than that.
        alphabet: ids of the alphabet that is kept, sorted.
        fragile: pieces of any language's train and validation split that could become unknown.
    """

    uses: Uses
    weights: Mapping[str, float]
    words: Mapping[str, int]
    rows: int
    alphabet: Ids
    fragile: Sequence[str] = ()


def read_statistics(
    family: Family,
    teacher: Path,
    counts: Mapping[str, Path],
    corpora: Mapping[str, Path],
    weights: Mapping[str, float],
    targets: Sequence[str],
    *,
    whole_alphabet: bool = True,
) -> CorpusStatistics:
    """Read it from counts and corpora; see :func:`langtailor.vocabulary.select.select_vocabulary` for the arguments.

    With ``whole_alphabet`` characters that no language uses belong to the alphabet, too.

    Raises:
        ArtifactError: counts or corpora are damaged.
    """
    _LOG.info("counting the words of %s", ", ".join(targets))
    reader = WordReader.open(teacher)
    by_row = {lang: read_counts(path).counts for lang, path in counts.items()}
    uses = {lang: _by_token(found, len(family.tokens)) for lang, found in by_row.items()}
    rows = max(len(found) for found in by_row.values())
    words = reader.word_counts([corpora[lang] for lang in targets], ["train"], family.words)
    alphabet = family.alphabet_ids() if whole_alphabet else _used_alphabet(family, uses)
    fragile = _fragile_words(family, reader, list(corpora.values()), alphabet)
    _LOG.info("%s: %s distinct pieces of text in the target languages", family.name, f"{len(words):,}")
    return CorpusStatistics(uses, weights, words, rows, alphabet, fragile)


def _used_alphabet(family: Family, uses: Uses) -> Ids:
    """The alphabet without the characters that occur in no token in use."""
    used = np.flatnonzero(np.sum(list(uses.values()), axis=0))
    tokens = family.surfaces([family.tokens[i] or "" for i in used.tolist()])
    characters = set(chain.from_iterable(token for token in tokens if token))
    alphabet, letters = family.alphabet_ids(), family.letter_ids()
    surfaces = family.surfaces([family.tokens[i] or "" for i in letters.tolist()])
    idle = [i for i, text in zip(letters.tolist(), surfaces, strict=True) if text and text.strip() not in characters]
    return np.setdiff1d(alphabet, idle).astype(np.int32)


def _fragile_words(family: Family, reader: WordReader, corpora: Iterable[Path], alphabet: Ids) -> list[str]:
    """Distinct pieces, sorted, that the mandatory tokens alone cannot write; none where bytes write any text."""
    if unknown_id(family.spec) is None or spelling_of(family.spec) is not None:
        return []
    mandatory = np.union1d(family.special_ids(), alphabet).astype(np.int32)
    pruned = family.write(family.layout(mandatory, (), 0)).tokenizer
    unknown, tokenizer = unknown_id(pruned), tokenizer_of(pruned)
    hidden: set[str] = set()
    for corpus in corpora:
        texts = list(reader.distinct_texts([corpus], ["train", "validation"]))
        hidden.update(text for text, ids in zip(texts, encode_words(tokenizer, texts), strict=True) if unknown in ids)
    words = sorted(family.words(sorted(hidden)))
    model = word_tokenizer(model_of(pruned))
    return [word for word, ids in zip(words, encode_words(model, words), strict=True) if unknown in ids]


def _by_token(uses: NDArray[np.int64], tokens: int) -> NDArray[np.int64]:
    """Uses of each token: a table may have more rows than there are tokens, or none for tokens that no text uses."""
    found = np.zeros(tokens, np.int64)
    found[: len(uses)] = uses[:tokens]
    return found
