"""Queries with the documents that answer them, from the user's files or made of the corpus."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from langtailor.config.queries import BEIR_FILES, HubPairs, QuerySettings
from langtailor.corpus.boundaries import last_grapheme_boundary, sentence_ends
from langtailor.corpus.document import document_hash
from langtailor.corpus.reading import read_corpus
from langtailor.errors import SourceError
from langtailor.sources.collection import Collection, read_beir, read_squad
from langtailor.sources.hub_table import read_hub_table
from langtailor.sources.table_files import Column, Table, read_table

_LOG = logging.getLogger("langtailor")
#: Shortest query that is made of a document, in characters.
_SHORTEST = 12


@dataclass(frozen=True)
class Pairs:
    """Queries, documents, and which documents answer a query and which do not, as a source has them.

    Attributes:
        queries: texts.
        documents: texts.
        answers: by query, rows of documents.
        negatives: likewise, those that the source says do not answer it.
    """

    queries: tuple[str, ...]
    documents: tuple[str, ...]
    answers: tuple[tuple[int, ...], ...]
    negatives: tuple[tuple[int, ...], ...]


def read_pairs(source: str | HubPairs, settings: QuerySettings) -> Pairs:
    """Read the user's pairs of one language.

    Args:
        source: a table, a JSON file as SQuAD's, a folder as BEIR's, or a data set of the Hub; see
            :class:`~langtailor.config.queries.QuerySettings`.
        settings: names of the columns.

    Raises:
        HubError: the data set cannot be reached.
        SourceError: a file or data set cannot be read or has no pair.
    """
    optional = () if settings.negatives is None else (settings.negatives,)
    if isinstance(source, HubPairs):
        columns = source.columns or settings.columns
        table = read_hub_table(source.dataset, source.subset, source.split, source.revision, columns, optional)
        return _of_table(table, columns, settings.negatives)
    path = Path(source)
    if path.is_dir():
        return _of_collection(read_beir(*(path / name for name in BEIR_FILES)))
    if path.suffix.lower() == ".json":
        return _of_collection(read_squad({"": path}))
    return _of_table(read_table(path, settings.columns, optional), settings.columns, settings.negatives)


def _of_collection(collection: Collection) -> Pairs:
    (queries,), (documents,) = collection.queries.values(), collection.documents.values()
    (relevant,) = collection.relevant.values()
    return Pairs(queries, documents, tuple(map(tuple, relevant)), ((),) * len(queries))


def _of_table(table: Table, columns: tuple[Column, Column], negatives: str | None) -> Pairs:
    query, document = columns
    if negatives is not None and not any(value is not None for value in table.columns[negatives]):
        _LOG.warning(
            "%s: no row has the column %r of queries.negatives; no negatives are read", table.source, negatives
        )
    others = [()] * len(table) if negatives is None else table.text_lists(negatives)
    return grouped(zip(table.texts(query), table.texts(document), others, strict=True))


def grouped(rows: Iterable[tuple[str, str, Sequence[str]]]) -> Pairs:
    """Pairs of rows with a query, a document that answers it, and documents that do not; equal texts are one."""
    queries, documents = dict[str, int](), dict[str, int]()
    answers, negatives = list[dict[int, None]](), list[dict[int, None]]()
    for query, answer, others in rows:
        row = queries.setdefault(query, len(queries))
        if row == len(answers):
            answers.append({})
            negatives.append({})
        answers[row][documents.setdefault(answer, len(documents))] = None
        negatives[row] |= dict.fromkeys(documents.setdefault(other, len(documents)) for other in others)
    return Pairs(tuple(queries), tuple(documents), tuple(map(tuple, answers)), tuple(map(tuple, negatives)))


def synthetic_pairs(corpus: Path, most: int, seed: int) -> Pairs:
    """Passages of the train split, each with a part of it as its query.

    The inverse cloze task (Lee et al. 2019, https://aclanthology.org/P19-1612): one of a passage's sentences, or half of the
    words of a passage that is one sentence. The passage keeps it, as a query and its answer share words.

    Args:
        corpus: ``corpus/{lang}.parquet``.
        most: passages that are taken, the first that are long enough.
        seed: of which part is taken.

    Raises:
        SourceError: no passage is long enough.
    """
    table = read_corpus(corpus, "train", ["id", "text"])
    parts = (
        (query, text, ())
        for name, text in zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True)
        if (query := part_of(text, document_hash("part", seed, name)))
    )
    pairs = grouped(islice(parts, most))
    if not pairs.queries:
        raise SourceError(f"{corpus}: no passage is long enough to make a query from a part of it")
    return pairs


def part_of(text: str, number: int) -> str | None:
    """A sentence of a text, or half of its words where it is one sentence; nothing where that is too short.

    Args:
        text: the text.
        number: which sentence, or from where; any number.
    """
    ends = [0, *sentence_ends(text).tolist()]
    sentences = [text[start:end].strip() for start, end in zip(ends, [*ends[1:], len(text)], strict=True)]
    long_enough = [sentence for sentence in sentences if len(sentence) >= _SHORTEST]
    if len(long_enough) > 1:
        return long_enough[number % len(long_enough)]
    return _half(text.strip(), number)


def _half(text: str, number: int) -> str | None:
    """Half of a text, cut between words, or between graphemes where no white space is."""
    words = text.split()
    if len(words) >= 4:
        start = number % (len(words) - len(words) // 2 + 1)
        half = " ".join(words[start : start + len(words) // 2])
    else:
        begin = number % (len(text) // 2 + 1)
        start = last_grapheme_boundary(text, -1, begin) if begin else 0
        half = text[start : last_grapheme_boundary(text, start, start + len(text) // 2)]
    return half if len(half) >= _SHORTEST else None
