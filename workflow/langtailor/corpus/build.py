"""Passages of one language, cleaned, chunked, deduplicated and split: ``corpus/{lang}.parquet``.

Documents are taken in the order of the sample until every split has its quota. What becomes of a passage depends on
those before it and on the ratio of the quotas, never on their size, so that raised quotas append to each split and
change nothing.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langtailor.config.base import SPLITS
from langtailor.config.corpus import CleaningSettings, Quotas, ShortSettings
from langtailor.corpus.boundaries import last_grapheme_boundary
from langtailor.corpus.chunking import Chunker, load_chunker
from langtailor.corpus.cleaning import clean, rejection_reason
from langtailor.corpus.deduplication import Deduplicator
from langtailor.corpus.document import Document
from langtailor.corpus.splitting import short_documents, splitter
from langtailor.errors import SourceError
from langtailor.progress import Progress
from langtailor.storage.artifacts import Manifest
from langtailor.storage.batching import batched_by_weight
from langtailor.storage.digests import sha256_file
from langtailor.storage.spool import Row, record_batches, spooled
from langtailor.storage.tables import CORPUS, DOCUMENTS, read_batches, read_table_manifest, table_writer

_LOG = logging.getLogger("langtailor")
#: What is tokenized at once: bounds the memory that the tokenizer's output takes.
_BATCH_DOCUMENTS = 2048
_BATCH_CHARACTERS = 1_000_000
#: Rows that are read at once: few, since a document may have millions of characters.
_READ_ROWS = 64


@dataclass(frozen=True)
class Passage:
    """A piece of a document, clean and short enough for the teacher."""

    document: str
    chunk: int
    text: str
    pair: str | None

    @property
    def id(self) -> str:
        """The document's id and the number of the chunk."""
        return f"{self.document}#{self.chunk}"


def build_corpus(
    documents: Path,
    teacher: Path,
    lang: str,
    chunk_tokens: int,
    cleaning: CleaningSettings,
    quotas: Quotas,
    seed: int,
    out: Path,
    short: ShortSettings | None = None,
) -> None:
    """Make the corpus of one language.

    Args:
        documents: ``corpus/documents/{lang}.parquet``.
        teacher: sentence-transformers folder whose tokenizer counts.
        lang: the language.
        chunk_tokens: longest passage in the teacher's tokens, special ones included.
        cleaning: what is done to a text.
        quotas: passages per split.
        seed: of the splits, and of which documents are chunked short.
        out: ``corpus/{lang}.parquet``. Its manifest's facts give ``passages`` and ``characters`` by split, ``dropped``
            by reason, ``documents`` read, and ``filled``, the share of the quotas that there was text for.
        short: which documents are chunked short; none unless given.

    Raises:
        SourceError: no passage is left.
        ArtifactError: ``documents`` is damaged or ``teacher`` has no tokenizer.
    """
    origin = read_table_manifest(documents, "documents", DOCUMENTS)
    _LOG.info("loading the tokenizer")
    short = short or ShortSettings()
    chunkers = {is_short: load_chunker(teacher, n) for is_short, n in ((False, chunk_tokens), (True, short.tokens))}
    maker = PassageMaker(chunkers, cleaning, short_documents(short.share, seed))
    splits = _Splits(quotas, seed)
    with (
        Progress(f"passages of {lang}", quotas.total, "passage") as progress,
        spooled(splits.rows(maker.passages(_documents(documents)), progress), DOCUMENTS, out) as spool,
    ):
        positions = splits.positions()
        counts = {split: len(positions[split]) for split in SPLITS}
        facts = {
            "revision": origin.facts.get("revision"),
            "documents": {"sampled": origin.facts["documents"], "read": maker.documents, "cut": maker.truncated},
            "dropped": dict(maker.dropped),
            "surplus": splits.surplus,
            "passages": counts,
            "filled": round(len(spool) / quotas.total, 4),
        }
        _check_filled(lang, origin, quotas, facts)
        _LOG.info("writing the corpus of %s", lang)
        characters = dict.fromkeys(SPLITS, 0)
        with table_writer(out, CORPUS) as table:
            for split in SPLITS:
                for batch in record_batches(_rows(spool.pick(positions[split]), lang, split, characters), CORPUS):
                    table.write(batch)
            made_by = {
                "lang": lang,
                "chunk_tokens": chunk_tokens,
                "short": short.model_dump(mode="json"),
                "cleaning": cleaning.model_dump(mode="json"),
                "quotas": quotas.model_dump(mode="json"),
                "seed": seed,
            }
            inputs = {"documents": origin.made_by, "tokenizer": sha256_file(teacher / "tokenizer.json")}
            table.seal(Manifest("corpus", made_by, inputs, {**facts, "characters": characters}))
    _LOG.info("passages: %s", ", ".join(f"{count:,} {split}" for split, count in counts.items()))


class PassageMaker:
    """Turns documents into passages and counts what is left out, and why.

    Reasons: of documents ``empty`` (nothing but markup), ``unpaired`` (the aligned text is empty), ``too_long`` (a
    paired document that would have to be split); of passages ``short``, ``few_letters``, ``exact_duplicate``,
    ``near_duplicate``.

    Args:
        chunkers: the chunker of full-length passages under ``False``, that of short ones under ``True``.
        settings: what is done to a text.
        is_short: whether a document, by its id, is chunked into short passages.

    Attributes:
        documents: documents read.
        truncated: documents cut off at ``max_characters``.
        dropped: documents and passages left out, by reason.
    """

    def __init__(
        self, chunkers: Mapping[bool, Chunker], settings: CleaningSettings, is_short: Callable[[str], bool]
    ) -> None:
        self._chunkers = chunkers
        self._settings = settings
        self._is_short = is_short
        self._deduplicator = Deduplicator(settings.near_duplicate_similarity)
        self.documents = 0
        self.truncated = 0
        self.dropped: Counter[str] = Counter()

    def passages(self, documents: Iterable[Document]) -> Iterator[list[Passage]]:
        """Passages in the order of the documents, batch by batch; how they fall into batches means nothing."""
        for batch in batched_by_weight(self._cleaned(documents), _characters, _BATCH_CHARACTERS, _BATCH_DOCUMENTS):
            accepted = [p for p in self._chunks(batch) if self._keep(rejection_reason(p.text, self._settings))]
            verdicts = self._deduplicator.judge([passage.text for passage in accepted])
            yield [
                passage
                for passage, verdict in zip(accepted, verdicts, strict=True)
                if self._keep(None if verdict == "new" else verdict)
            ]

    def _cleaned(self, documents: Iterable[Document]) -> Iterator[Document]:
        for document in documents:
            self.documents += 1
            text = self._bounded(document)
            cleaned = Document(
                document.id,
                "" if text is None else clean(text),
                None if document.pair is None else clean(document.pair),
            )
            if self._keep(_document_rejection(text, cleaned)):
                yield cleaned

    def _bounded(self, document: Document) -> str | None:
        """The text up to ``max_characters``; ``None`` for a longer one with a pair, which may not be truncated."""
        text, longest = document.text, self._settings.max_characters
        if max(len(text), len(document.pair or "")) <= longest:
            return text
        if document.pair is not None:
            return None
        self.truncated += 1
        return text[: last_grapheme_boundary(text, 0, longest)]

    def _chunks(self, batch: list[Document]) -> Iterator[Passage]:
        pairs = [document.pair for document in batch if document.pair is not None]
        pair_fits = iter(self._chunkers[False].fits(pairs))
        for document, chunks in zip(batch, self._chunked(batch), strict=True):
            if document.pair is None:
                yield from (Passage(document.id, i, chunk, None) for i, chunk in enumerate(chunks))
            elif self._keep("too_long" if not next(pair_fits) or len(chunks) > 1 else None):
                yield Passage(document.id, 0, document.text, document.pair)

    def _chunked(self, batch: list[Document]) -> list[list[str]]:
        """The chunks of each document."""
        short = [document.pair is None and self._is_short(document.id) for document in batch]
        chunks = {
            kind: iter(
                chunker.chunk(
                    [document.text for document, is_short in zip(batch, short, strict=True) if is_short == kind]
                )
            )
            for kind, chunker in self._chunkers.items()
        }
        return [next(chunks[kind]) for kind in short]

    def _keep(self, reason: str | None) -> bool:
        """Count the reason for leaving something out; true where there is none."""
        if reason is not None:
            self.dropped[reason] += 1
        return reason is None


class _Splits:
    """Fills the splits up to their quotas."""

    def __init__(self, quotas: Quotas, seed: int) -> None:
        self._quotas = {split: int(getattr(quotas, split)) for split in SPLITS}
        self._split_of = splitter(quotas, seed)
        self._positions: dict[str, list[int]] = {split: [] for split in SPLITS}
        self.surplus = 0

    def rows(self, batches: Iterable[list[Passage]], progress: Progress) -> Iterator[Row]:
        """The passages that a split still takes, until all splits are full."""
        count = 0
        for batch in batches:
            for passage in batch:
                split = self._split_of(passage.document)
                if len(self._positions[split]) == self._quotas[split]:
                    self.surplus += 1
                    continue
                self._positions[split].append(count)
                count += 1
                yield passage.id, passage.text, passage.pair
            progress.update(count - progress.done)
            if all(len(self._positions[split]) == self._quotas[split] for split in SPLITS):
                return

    def positions(self) -> dict[str, list[int]]:
        """By split, the places of its passages among all rows. ``train`` takes another's where nothing fell to it."""
        positions = dict(self._positions)
        if not positions["train"]:
            fullest = max(SPLITS, key=lambda split: len(positions[split]))
            positions["train"], positions[fullest] = positions[fullest], positions["train"]
        return positions


def _documents(path: Path) -> Iterator[Document]:
    for batch in read_batches(path, "documents", DOCUMENTS, _READ_ROWS):
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            yield Document(*row)


def _document_rejection(text: str | None, cleaned: Document) -> str | None:
    if text is None:
        return "too_long"
    if not cleaned.text:
        return "empty"
    return "unpaired" if cleaned.pair == "" else None


def _characters(document: Document) -> int:
    return len(document.text) + len(document.pair or "")


def _rows(rows: Iterable[Row], lang: str, split: str, characters: dict[str, int]) -> Iterator[Row]:
    for identity, text, pair in rows:
        characters[split] += len(text or "")
        yield identity, lang, text, split, pair


def _check_filled(lang: str, origin: Manifest, quotas: Quotas, facts: dict[str, Any]) -> None:
    """Warn if the splits are smaller than the quotas, and refuse if they are empty."""
    dropped = ", ".join(f"{reason} {count:,}" for reason, count in sorted(facts["dropped"].items())) or "nothing"
    if not any(facts["passages"].values()):
        raise SourceError(
            f"the {origin.made_by['source']['kind']} source of language {lang!r} leaves no passage: "
            f"{facts['documents']['read']:,} documents read; dropped: {dropped}. "
            "Loosen `corpus.cleaning` or use another source."
        )
    if facts["filled"] < 1:
        filled = ", ".join(f"{split} {facts['passages'][split]:,} of {getattr(quotas, split):,}" for split in SPLITS)
        wanted = origin.made_by.get("wanted")  # words in place of text are never sampled
        whole = wanted is None or origin.facts["documents"] < wanted
        _LOG.warning(
            "%s: too little text for the quotas (%s), so the splits are smaller. "
            "All %s documents %s were read; dropped: %s",
            lang,
            filled,
            f"{facts['documents']['read']:,}",
            "of the source" if whole else "sampled",
            dropped,
        )
