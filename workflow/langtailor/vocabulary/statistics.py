"""Corpus statistics that a vocabulary is chosen by: each language's token counts, and the words of the targets."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from langtailor.config.vocabulary import Alphabet
from langtailor.counts.count import read_counts
from langtailor.counts.words import WordReader
from langtailor.models.tokenizer_file import tokenizer_of
from langtailor.storage.batching import batched_by_weight
from langtailor.storage.memory import release_freed_memory
from langtailor.surgery.base import Family, Ids
from langtailor.surgery.spelling import spelling_of
from langtailor.surgery.unknowns import unknown_id
from langtailor.surgery.word_models import encode_words, model_of, word_tokenizer
from langtailor.vocabulary.alphabet import KeptAlphabet

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_LOG = logging.getLogger("langtailor")
#: By language, how often each teacher token occurs in its train split; int64, shape (tokens,).
Counts = Mapping[str, NDArray[np.int64]]
#: Characters that are tokenized at once: an encoding takes many times the memory of its text.
_CHARACTERS_AT_ONCE = 250_000


@dataclass(frozen=True)
class CorpusStatistics:
    """Corpus statistics that a vocabulary is chosen by.

    Attributes:
        counts: by language, how often each teacher token occurs in the train split; int64, shape (tokens,).
        weights: weight of each of these languages.
        words: words of the target languages' train split with their counts, as :meth:`Family.words` gives them.
        rows: rows of the teacher's embedding table. EmbeddingGemma's tokenizer has one special token more than that.
        alphabet: what is kept of the alphabet.
        at_risk: words of any language's train and validation split that could become unknown.
    """

    counts: Counts
    weights: Mapping[str, float]
    words: Mapping[str, int]
    rows: int
    alphabet: KeptAlphabet
    at_risk: Sequence[str] = ()


def read_statistics(
    family: Family,
    teacher: Path,
    counts: Mapping[str, Path],
    corpora: Mapping[str, Path],
    weights: Mapping[str, float],
    targets: Sequence[str],
    *,
    alphabet: Alphabet = "full",
) -> CorpusStatistics:
    """Read them from counts and corpora; see :func:`langtailor.vocabulary.select.select_vocabulary` for the arguments.

    ``alphabet`` is the setting of that name in :class:`~langtailor.config.vocabulary.VocabularySettings`.

    Raises:
        ArtifactError: counts or corpora are damaged.
    """
    _LOG.info("counting the words of %s", ", ".join(targets))
    reader = WordReader.open(teacher)
    by_row = {lang: read_counts(path).counts for lang, path in counts.items()}
    by_token = {lang: _by_token(row_counts, len(family.tokens)) for lang, row_counts in by_row.items()}
    rows = max(map(len, by_row.values()))
    occurring = np.sum(list(by_token.values()), axis=0) > 0
    kept = KeptAlphabet.of(family, occurring, alphabet)
    if alphabet == "full" and (foreign := len(kept.ids) - len(KeptAlphabet.of(family, occurring, "scripts").ids)):
        _LOG.info(
            "%s rows are for characters of scripts that the corpus does not have; `vocabulary.alphabet: scripts` would give "
            "them to its words",
            f"{foreign:,}",
        )
    # The words at risk are few, and the others are needed to the end: so the memory of their search is free for these.
    at_risk = _words_at_risk(family, reader, list(corpora.values()), kept.ids)
    words = reader.word_counts([corpora[lang] for lang in targets], ["train"], family.words)
    release_freed_memory()
    _LOG.info("%s: %s distinct pieces of text in the target languages", family.name, f"{len(words):,}")
    return CorpusStatistics(by_token, weights, words, rows, kept, at_risk)


def _words_at_risk(family: Family, reader: WordReader, corpora: Iterable[Path], alphabet: Ids) -> list[str]:
    """Distinct words, sorted, that the mandatory tokens alone cannot encode; none where bytes encode any text."""
    if unknown_id(family.spec) is None or spelling_of(family.spec) is not None:
        return []
    mandatory = np.union1d(family.special_ids(), alphabet).astype(np.int32)
    pruned = family.write(family.layout(mandatory, (), 0)).tokenizer
    unknown, tokenizer = unknown_id(pruned), tokenizer_of(pruned)
    model = word_tokenizer(model_of(pruned))
    words: set[str] = set()
    for corpus in corpora:
        texts = reader.distinct_texts([corpus], ["train", "validation"])
        for batch in batched_by_weight(texts, len, _CHARACTERS_AT_ONCE):
            words.update(_having(unknown, model, family.words(_having(unknown, tokenizer, batch))))
    return sorted(words)


def _having(token: int | None, tokenizer: Tokenizer, texts: Collection[str]) -> list[str]:
    """Those of the texts that have a token."""
    return [text for text, ids in zip(texts, encode_words(tokenizer, texts), strict=True) if token in ids]


def _by_token(row_counts: NDArray[np.int64], tokens: int) -> NDArray[np.int64]:
    """Counts by token: a table may have more rows than there are tokens, or none for tokens that do not occur."""
    counts = np.zeros(tokens, np.int64)
    counts[: len(row_counts)] = row_counts[:tokens]
    return counts
