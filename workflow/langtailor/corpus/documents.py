"""Documents of one language, sampled from its source: ``corpus/documents/{lang}.parquet``.

A sample is spread over the whole source and grows at its end: asked for more, a source gives the same documents in the
same order and then others. Later stages rely on this, so that a raised quota adds passages and changes none.
"""

from __future__ import annotations

import heapq
import logging
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from langtailor.config.corpus import AnySource, FilesSource, HubSource, Quotas, SampleSource
from langtailor.corpus.document import Document, document_hash
from langtailor.corpus.local_files import LocalCorpus, files_corpus, sample_corpus
from langtailor.errors import SourceError
from langtailor.progress import Progress
from langtailor.storage.artifacts import Manifest
from langtailor.storage.spool import Row, record_batches, spooled
from langtailor.storage.tables import DOCUMENTS, table_writer

_LOG = logging.getLogger("langtailor")
#: Documents asked for per passage wanted: some are dropped, some make several. Local ones cost next to nothing.
_HUB_SURPLUS = 1.3
_LOCAL_SURPLUS = 3.0
#: Splits are drawn by hash; this many standard deviations of the smallest one's size are asked for on top.
_DEVIATIONS = 4


@dataclass(frozen=True)
class _Sample:
    documents: Iterable[Document]
    expected: int
    facts: dict[str, Any]


def documents_wanted(quotas: Quotas, source: AnySource) -> int:
    """How many documents to sample so that, in the usual case, all splits can be filled.

    It grows with the quotas, so that a raised quota keeps the documents sampled before.
    """
    surplus = _HUB_SURPLUS if isinstance(source, HubSource) else _LOCAL_SURPLUS
    smallest = min(quota for quota in (quotas.train, quotas.validation, quotas.test) if quota)
    return math.ceil(quotas.total * surplus * (1 + _DEVIATIONS / math.sqrt(smallest)))


def fetch_documents(
    source: SampleSource | FilesSource | HubSource,
    source_lang: str,
    lang: str,
    wanted: int,
    seed: int,
    out: Path,
    work: Path,
) -> None:
    """Sample documents of one language and write them, with where they come from, in the order of the sample.

    Args:
        source: where the text is.
        source_lang: what the source calls the language.
        lang: what the corpus calls it.
        wanted: the most documents to take.
        seed: of the sample.
        out: ``corpus/documents/{lang}.parquet``.
        work: folder for downloads and temporary files.

    Raises:
        SourceError: the source cannot be read, has no text in the language, or gives an id twice.
        HubError: the Hub cannot be reached or refuses.
    """
    _LOG.info("sampling documents of %s", lang)
    asked = {"source": source.model_dump(mode="json"), "source_lang": source_lang, "seed": seed, "wanted": wanted}
    written = {"documents": 0, "characters": 0}
    with _sample(source, source_lang, wanted, seed, work) as sample, table_writer(out, DOCUMENTS) as table:
        with Progress(f"documents of {lang}", sample.expected, "document") as progress:
            for batch in record_batches(_rows(sample.documents, seed, written), DOCUMENTS):
                table.write(batch)
                progress.update(batch.num_rows)
        if not written["documents"]:
            raise SourceError(
                f"the {source.kind} source of language {lang!r} has no text ({_place(source, source_lang)}). "
                "Check `corpus.sources` and the language's `name_in_source`."
            )
        table.seal(Manifest("documents", made_by={**asked, "lang": lang}, facts={**sample.facts, **written}))
    _LOG.info("%s documents, %s characters", f"{written['documents']:,}", f"{written['characters']:,}")


@contextmanager
def _sample(
    source: SampleSource | FilesSource | HubSource, source_lang: str, wanted: int, seed: int, work: Path
) -> Iterator[_Sample]:
    match source:
        case SampleSource():
            with _local_sample(sample_corpus(source_lang), wanted, seed, work) as sample:
                yield sample
        case FilesSource():
            corpus = files_corpus(source, source_lang)
            for name, reason in corpus.left_out.items():
                _LOG.warning("%s is left out of %s: %s", name, _place(source, source_lang), reason)
            with _local_sample(corpus, wanted, seed, work) as sample:
                yield sample
        case HubSource():
            from langtailor.corpus.dataset_sample import sample_documents

            hub = sample_documents(source, source_lang, wanted, seed, work)
            # A document that misses its pair must not pass for one of a source without pairs.
            paired = (replace(document, pair=document.pair or "") for document in hub.documents)
            yield _Sample(hub.documents if source.pair_field is None else paired, wanted, hub.facts)


@contextmanager
def _local_sample(corpus: LocalCorpus, wanted: int, seed: int, work: Path) -> Iterator[_Sample]:
    """The ``wanted`` documents with the smallest hashes, by rising hash; blank documents are no candidates."""
    counts = {"available": 0, "blank": 0}
    smallest = heapq.nsmallest(wanted, _hashes(corpus, seed, counts))
    last = smallest[-1] if smallest else -1
    hashes: list[int] = []
    with spooled(_chosen(corpus, seed, last, hashes), DOCUMENTS, work / "sample") as spool:
        order = sorted(range(len(hashes)), key=hashes.__getitem__)
        documents = (Document(str(row[0]), str(row[1]), row[2]) for row in spool.pick(order))
        yield _Sample(documents, len(spool), {"revision": corpus.revision(), **counts})


def _hashes(corpus: LocalCorpus, seed: int, counts: dict[str, int]) -> Iterator[int]:
    for document in corpus.documents():
        if _has_text(document):
            counts["available"] += 1
            yield document_hash("order", seed, document.id)
        else:
            counts["blank"] += 1


def _chosen(corpus: LocalCorpus, seed: int, last: int, hashes: list[int]) -> Iterator[Row]:
    """Documents whose hash is at most ``last``; their hashes are appended to ``hashes``."""
    for document in corpus.documents():
        place = document_hash("order", seed, document.id)
        if place <= last and _has_text(document):
            hashes.append(place)
            yield document.id, document.text, document.pair


def _has_text(document: Document) -> bool:
    return bool(document.text.strip()) and (document.pair is None or bool(document.pair.strip()))


def _rows(documents: Iterable[Document], seed: int, written: dict[str, int]) -> Iterator[Row]:
    """Rows of the documents, counted; an id that comes again is an error."""
    seen: set[int] = set()
    for document in documents:
        identity = document_hash("order", seed, document.id)
        if identity in seen:
            raise SourceError(
                f"the id {document.id!r} belongs to more than one document; name another `id_field`, or none"
            )
        seen.add(identity)
        written["documents"] += 1
        written["characters"] += len(document.text)
        yield document.id, document.text, document.pair


def _place(source: SampleSource | FilesSource | HubSource, source_lang: str) -> str:
    match source:
        case FilesSource():
            return source.path.replace("{lang}", source_lang)
        case HubSource():
            return f"{source.dataset}, {source.subset.replace('{lang}', source_lang)}, split {source.split}"
    return f"sample corpus, {source_lang}"
