"""Section of the page: the corpus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from langtailor.config.base import SPLITS
from langtailor.report import plots
from langtailor.report.formats import dropped_texts
from langtailor.storage.artifacts import Manifest
from langtailor.storage.tables import CORPUS, read_table_manifest


@dataclass(frozen=True)
class CorpusRow:
    """One language of the corpus.

    Attributes:
        lang: the language.
        source: kind of its source.
        passages: number of passages by split.
        quotas: number of passages asked for by split.
        characters: characters of all passages.
        documents: documents read.
        dropped: what was dropped, and how much, by reason.
    """

    lang: str
    source: str
    passages: Mapping[str, int]
    quotas: Mapping[str, int]
    characters: int
    documents: int
    dropped: str


def read_corpus_row(path: Path, lang: str) -> CorpusRow:
    """The row of a language's corpus.

    Raises:
        ArtifactError: the corpus is damaged.
    """
    return corpus_row(read_table_manifest(path, "corpus", CORPUS), lang)


def corpus_row(manifest: Manifest, lang: str) -> CorpusRow:
    """The row of a corpus with this manifest."""
    facts = manifest.facts
    return CorpusRow(
        lang=lang,
        source=manifest.inputs["documents"]["source"]["kind"],
        passages=facts["passages"],
        quotas=manifest.made_by["quotas"],
        characters=sum(facts["characters"].values()),
        documents=facts["documents"]["read"],
        dropped=dropped_texts(facts["dropped"]),
    )


def corpus_plot(rows: Sequence[CorpusRow]) -> str:
    """Passages per language and split, as an ``<svg>`` element."""
    passages = {split: [row.passages[split] for row in rows] for split in SPLITS}
    return plots.stacked_bars([row.lang for row in rows], passages, "passages")
