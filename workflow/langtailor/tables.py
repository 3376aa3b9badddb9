"""Parquet and Arrow tables that describe themselves and notice damage.

Each table carries its :class:`~langtailor.artifacts.Manifest` in the schema metadata under
``langtailor`` and its digest under ``langtailor.sha256``. Parquet pages are written with checksums
(https://parquet.apache.org/docs/file-format/data-pages/checksumming/), which reading verifies.
The schemas of all tables of the pipeline stand here, side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from langtailor.artifacts import Manifest, atomic_file, sha256_bytes
from langtailor.errors import ArtifactError

_MANIFEST_KEY = b"langtailor"
_DIGEST_KEY = b"langtailor.sha256"

#: ``documents/{lang}.parquet``: what a source gave, before cleaning. ``pair`` is the aligned text.
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

#: ``counts/{lang}.parquet``: every teacher id once, in order, with its uses in the train split.
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

#: ``clone/{variant}/mapping.parquet``: row ``new_id`` = sum of ``weights`` x teacher rows ``teacher_ids``.
MAPPING = pa.schema(
    [("new_id", pa.int32()), ("teacher_ids", pa.list_(pa.int32())), ("weights", pa.list_(pa.float32()))]
)


def write_table(path: Path, table: pa.Table, manifest: Manifest) -> None:
    """Write a Parquet artifact atomically, with page checksums and its manifest."""
    with atomic_file(path) as temporary:
        pq.write_table(with_manifest(table, manifest), temporary, compression="zstd", write_page_checksum=True)


def read_table(
    path: Path, kind: str, schema: pa.Schema, columns: Sequence[str] | None = None
) -> tuple[pa.Table, Manifest]:
    """Read a Parquet artifact and check kind, schema and page checksums.

    Args:
        path: the file.
        kind: the kind that the caller expects.
        schema: the schema of that kind; names and types must agree.
        columns: read only these.

    Raises:
        ArtifactError: the file is missing, damaged, of another kind or of another schema.
    """
    manifest = read_table_manifest(path, kind, schema)
    try:
        table = pq.read_table(
            path,
            columns=None if columns is None else list(columns),
            page_checksum_verification=True,
            partitioning=None,
        )
    except (OSError, pa.ArrowException) as error:
        raise ArtifactError(path, f"is damaged ({error})") from error
    return table, manifest


def read_table_manifest(path: Path, kind: str, schema: pa.Schema) -> Manifest:
    """The manifest of a Parquet artifact, after the checks of kind and schema; the rows stay unread."""
    try:
        found = pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise ArtifactError(path, f"is missing or damaged ({error})") from error
    manifest = manifest_of(path, found, kind)
    if not found.equals(schema, check_metadata=False):
        raise ArtifactError(path, f"has other columns than a {kind} table: {found.names}")
    return manifest


def with_manifest(table: pa.Table, manifest: Manifest) -> pa.Table:
    """The same table with the manifest and its digest in the schema metadata."""
    text = manifest.to_json().encode()
    return table.replace_schema_metadata({_MANIFEST_KEY: text, _DIGEST_KEY: sha256_bytes(text).encode()})


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
