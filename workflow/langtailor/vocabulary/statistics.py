"""Corpus statistics that a vocabulary is chosen by: each language's token counts, and the words of the targets."""

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
#: By language, how often each teacher token occurs in its train split; int64, shape (tokens,).
Counts = Mapping[str, NDArray[np.int64]]


@dataclass(frozen=True)
class CorpusStatistics:
    """Corpus statistics that a vocabulary is chosen by.

    Attributes:
        counts: by language, how often each teacher token occurs in the train split; int64, shape (tokens,).
        weights: weight of each of these languages.
        words: words of the target languages' train split with their counts, as :meth:`Family.words` gives them.
        rows: rows of the teacher's embedding table. EmbeddingGemma's tokenizer has one special token more than that.
        alphabet: ids of the alphabet that is kept, sorted.
        at_risk: words of any language's train and validation split that could become unknown.
    """

    counts: Counts
    weights: Mapping[str, float]
    words: Mapping[str, int]
    rows: int
    alphabet: Ids
    at_risk: Sequence[str] = ()


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
    """Read them from counts and corpora; see :func:`langtailor.vocabulary.select.select_vocabulary` for the arguments.

    With ``whole_alphabet`` characters that occur in no language belong to the alphabet, too.

    Raises:
        ArtifactError: counts or corpora are damaged.
    """
    _LOG.info("counting the words of %s", ", ".join(targets))
    reader = WordReader.open(teacher)
    by_row = {lang: read_counts(path).counts for lang, path in counts.items()}
    by_token = {lang: _by_token(row_counts, len(family.tokens)) for lang, row_counts in by_row.items()}
    rows = max(map(len, by_row.values()))
    words = reader.word_counts([corpora[lang] for lang in targets], ["train"], family.words)
    alphabet = family.alphabet_ids() if whole_alphabet else _alphabet_of_corpus(family, by_token)
    at_risk = _words_at_risk(family, reader, list(corpora.values()), alphabet)
    _LOG.info("%s: %s distinct pieces of text in the target languages", family.name, f"{len(words):,}")
    return CorpusStatistics(by_token, weights, words, rows, alphabet, at_risk)


def _alphabet_of_corpus(family: Family, counts: Counts) -> Ids:
    """The alphabet without the characters that are in no token that occurs."""
    occurring = np.flatnonzero(np.sum(list(counts.values()), axis=0))
    tokens = family.surfaces([family.tokens[i] or "" for i in occurring.tolist()])
    characters = set(chain.from_iterable(token for token in tokens if token))
    single = family.character_ids().tolist()
    surfaces = family.surfaces([family.tokens[i] or "" for i in single])
    idle = [i for i, text in zip(single, surfaces, strict=True) if text and text.strip() not in characters]
    return np.setdiff1d(family.alphabet_ids(), idle).astype(np.int32)


def _words_at_risk(family: Family, reader: WordReader, corpora: Iterable[Path], alphabet: Ids) -> list[str]:
    """Distinct words, sorted, that the mandatory tokens alone cannot encode; none where bytes encode any text."""
    if unknown_id(family.spec) is None or spelling_of(family.spec) is not None:
        return []
    mandatory = np.union1d(family.special_ids(), alphabet).astype(np.int32)
    pruned = family.write(family.layout(mandatory, (), 0)).tokenizer
    unknown, tokenizer = unknown_id(pruned), tokenizer_of(pruned)
    texts_at_risk: set[str] = set()
    for corpus in corpora:
        texts = list(reader.distinct_texts([corpus], ["train", "validation"]))
        encoded = zip(texts, encode_words(tokenizer, texts), strict=True)
        texts_at_risk.update(text for text, ids in encoded if unknown in ids)
    words = sorted(family.words(sorted(texts_at_risk)))
    model = word_tokenizer(model_of(pruned))
    return [word for word, ids in zip(words, encode_words(model, words), strict=True) if unknown in ids]


def _by_token(row_counts: NDArray[np.int64], tokens: int) -> NDArray[np.int64]:
    """Counts by token: a table may have more rows than there are tokens, or none for tokens that do not occur."""
    counts = np.zeros(tokens, np.int64)
    counts[: len(row_counts)] = row_counts[:tokens]
    return counts
