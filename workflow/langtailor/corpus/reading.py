"""Reading a finished corpus, and the identity of its documents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from langtailor.config.base import SPLITS
from langtailor.storage.tables import CORPUS, read_batches, read_table, read_table_manifest

#: Passages in one batch of a stream.
_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True)
class Document:
    """One text of a source, as the source has it.

    Attributes:
        id: stable name within the source and language; translations may share it across languages.
        text: the text.
        pair: the aligned text, where the source is parallel.
    """

    id: str
    text: str
    pair: str | None = None


def document_hash(purpose: Literal["order", "split", "short"], seed: int, document_id: str) -> int:
    """A 64-bit number drawn from a document's id; numbers of different purposes are independent."""
    data = f"{seed}\0{document_id}".encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8, person=purpose.encode()).digest(), "big")


def read_corpus(path: Path, split: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
    """The passages of one language, verified.

    Args:
        path: ``corpus/{lang}.parquet``.
        split: ``train``, ``validation`` or ``test``; ``None`` reads all, in this order.
        columns: some of the columns of :data:`langtailor.storage.tables.CORPUS`; ``None`` reads all.

    Raises:
        ArtifactError: the file is missing, damaged or no corpus.
    """
    where = None if split is None else pc.field("split") == split
    return read_table(path, "corpus", CORPUS, columns, where)[0]


def split_counts(path: Path) -> dict[str, int]:
    """Passages per split of one language; only the file's footer is read.

    Raises:
        ArtifactError: the file is missing, damaged or no corpus.
    """
    passages = read_table_manifest(path, "corpus", CORPUS).facts["passages"]
    return {split: int(passages[split]) for split in SPLITS}


def passages(corpus: Path, splits: Sequence[str]) -> Iterator[pa.StringArray]:
    """The texts of some splits of a corpus, in batches.

    Raises:
        ArtifactError: the corpus is damaged.
    """
    wanted = pa.array(splits)
    for batch in read_batches(corpus, "corpus", CORPUS, _ROWS_AT_ONCE, columns=["text", "split"]):
        yield batch["text"].filter(pc.is_in(batch["split"], value_set=wanted))
