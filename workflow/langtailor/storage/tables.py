"""Parquet and Arrow tables that describe themselves and notice damage.

Each table carries its :class:`~langtailor.storage.artifacts.Manifest` in the schema metadata under
``langtailor`` and its digest under ``langtailor.sha256``. Parquet pages are written with checksums
(https://parquet.apache.org/docs/file-format/data-pages/checksumming/), which reading verifies.
This module holds the schemas of all tables of the pipeline.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from langtailor.errors import ArtifactError
from langtailor.storage.artifacts import Manifest
from langtailor.storage.atomic import atomic_file
from langtailor.storage.digests import sha256_bytes

_MANIFEST_KEY = b"langtailor"
_DIGEST_KEY = b"langtailor.sha256"

#: ``corpus/documents/{lang}.parquet``: what a source gave, before cleaning. ``pair`` is the aligned text.
DOCUMENTS = pa.schema([("id", pa.string()), ("text", pa.string()), ("pair", pa.string())])

#: ``corpus/{lang}.parquet``: cleaned passages. Rows are grouped by split and, inside a split, ordered by
#: the hash of their document, so that a raised quota only appends.
CORPUS = pa.schema(
    [
        ("id", pa.string()),
        ("lang", pa.string()),
        ("text", pa.string()),
        ("split", pa.string()),
        ("pair", pa.string()),
    ]
)

#: ``counts/{lang}.parquet``: every teacher id once, in order, with its count in the train split.
COUNTS = pa.schema([("token_id", pa.int32()), ("count", pa.int64())])

#: ``vocabulary/{variant}.parquet``: every new id once, in order, and why it is there. ``merge`` (BPE) and
#: ``score`` (Unigram) hold what a grafted token needs to be reachable.
VOCABULARY = pa.schema(
    [
        ("token", pa.string()),
        ("new_id", pa.int32()),
        ("teacher_id", pa.int32()),
        ("count", pa.int64()),
        ("origin", pa.string()),
        ("reason", pa.string()),
        ("merge", pa.list_(pa.string())),
        ("score", pa.float64()),
    ]
)

#: The file of a clone that says what each of its rows is made of.
MAPPING_NAME = "mapping.parquet"
#: ``clone/{variant}/mapping.parquet``: row ``new_id`` = sum of ``weights`` x teacher rows ``teacher_ids``.
MAPPING = pa.schema(
    [("new_id", pa.int32()), ("teacher_ids", pa.list_(pa.int32())), ("weights", pa.list_(pa.float32()))]
)

#: ``distillation/{variant}/tokens/{lang}.arrow``: the student's token ids, special ones included, of the splits that
#: training reads.
TOKENS = pa.schema([("id", pa.string()), ("split", pa.string()), ("ids", pa.list_(pa.int32()))])

#: ``retrieval/texts/{lang}/answers.parquet``: for each query, in their order, the rows of the documents that answer it and of
#: those that its source says do not.
ANSWERS = pa.schema([("id", pa.string()), ("answers", pa.list_(pa.int32())), ("negatives", pa.list_(pa.int32()))])

#: ``retrieval/candidates/{lang}/{side}.parquet``: for each query rows of documents, for each document rows of queries; the
#: right one first, -1 where none is known.
CANDIDATES = pa.schema([("id", pa.string()), ("split", pa.string()), ("candidates", pa.list_(pa.int32()))])


def write_table(path: Path, table: pa.Table, manifest: Manifest) -> None:
    """Write a Parquet artifact atomically, with page checksums and its manifest."""
    with atomic_file(path) as temporary:
        pq.write_table(with_manifest(table, manifest), temporary, compression="zstd", write_page_checksum=True)


class TableWriter:
    """Takes a Parquet artifact piece by piece; made by :func:`table_writer`."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self.sealed = False

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a batch as a row group of its own."""
        self._writer.write_batch(batch)

    def seal(self, manifest: Manifest) -> None:
        """Add the manifest, once all its facts are known."""
        self._writer.add_key_value_metadata(_manifest_metadata(manifest))
        self.sealed = True


@contextmanager
def table_writer(path: Path, schema: pa.Schema) -> Iterator[TableWriter]:
    """Write a Parquet artifact atomically without holding its rows; the body must :meth:`~TableWriter.seal` it.

    Raises:
        ValueError: the body ended without sealing; nothing is written then.
    """
    # Without the copy of the Arrow schema, whose metadata is fixed on opening, readers take the metadata from the
    # footer. All our types are Parquet's own, so that nothing is lost.
    options = {"compression": "zstd", "write_page_checksum": True, "store_schema": False}
    with atomic_file(path) as temporary:
        with pq.ParquetWriter(temporary, schema, **options) as writer:
            table = TableWriter(writer)
            yield table
        if not table.sealed:
            raise ValueError(f"{path} was written without a manifest")


def read_batches(
    path: Path, kind: str, schema: pa.Schema, rows: int, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Stream a Parquet artifact in batches of at most ``rows`` rows, with the checks of :func:`read_table`.

    Raises:
        ArtifactError: as :func:`read_table`; for damaged pages, when they are reached.
    """
    read_table_manifest(path, kind, schema)
    with damage_named(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        yield from file.iter_batches(batch_size=rows, columns=None if columns is None else list(columns))


def read_table(
    path: Path,
    kind: str,
    schema: pa.Schema,
    columns: Sequence[str] | None = None,
    where: pc.Expression | None = None,
) -> tuple[pa.Table, Manifest]:
    """Read a Parquet artifact and check kind, schema and page checksums.

    Args:
        path: the file.
        kind: the kind that the caller expects.
        schema: the schema of that kind; names and types must agree.
        columns: read only these.
        where: read only the rows that fulfil this; row groups that cannot hold any are skipped.

    Raises:
        ArtifactError: the file is missing, damaged, of another kind or of another schema.
    """
    manifest = read_table_manifest(path, kind, schema)
    with damage_named(path):
        table = pq.read_table(
            path,
            columns=None if columns is None else list(columns),
            filters=where,
            page_checksum_verification=True,
            partitioning=None,
        )
    return table, manifest


def read_table_manifest(path: Path, kind: str, schema: pa.Schema) -> Manifest:
    """The manifest of a Parquet artifact, after the checks of kind and schema; the rows stay unread."""
    with damage_named(path):
        actual = pq.read_schema(path)
    manifest = manifest_of(path, actual, kind)
    if not actual.equals(schema, check_metadata=False):
        raise ArtifactError(path, f"has other columns than a {kind} table: {actual.names}")
    return manifest


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn what reading an Arrow or Parquet artifact can raise into an error that names it.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    try:
        yield
    except MemoryError:  # Arrow's own is an ArrowException, too, and says nothing about the file
        raise
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ArtifactError(path, f"is missing or damaged ({error})") from error


def with_manifest(table: pa.Table, manifest: Manifest) -> pa.Table:
    """The same table with the manifest and its digest in the schema metadata."""
    return table.replace_schema_metadata(_manifest_metadata(manifest))


def manifest_of(path: Path, schema: pa.Schema, kind: str) -> Manifest:
    """The manifest in a schema's metadata.

    Raises:
        ArtifactError: there is none, it was changed, or it is of another kind.
    """
    metadata = schema.metadata or {}
    text = metadata.get(_MANIFEST_KEY)
    if text is None:
        raise ArtifactError(path, "was not written by langtailor")
    if sha256_bytes(text).encode() != metadata.get(_DIGEST_KEY):
        raise ArtifactError(path, "has a manifest that does not match its checksum")
    manifest = Manifest.from_json(text.decode())
    if manifest.kind != kind:
        raise ArtifactError(path, f"is a {manifest.kind!r} table where {kind!r} is expected")
    return manifest


def _manifest_metadata(manifest: Manifest) -> dict[bytes, bytes]:
    text = manifest.to_json().encode()
    return {_MANIFEST_KEY: text, _DIGEST_KEY: sha256_bytes(text).encode()}
