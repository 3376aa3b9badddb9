"""Teacher vectors as a data set of the Hub: how they are written, and how a run takes them over.

``data/{lang}/{number}.parquet`` is a shard of the run that has published it, with a row for each passage
(:func:`published_schema`). ``manifest.json`` says which teacher gave the vectors and how it was read. A vector belongs to the
digest of what the teacher read, so that another run, with other ids or another order, finds those of its own texts.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from langtailor.config.teacher import TeacherSettings
from langtailor.config.vectors import VectorSource
from langtailor.errors import ArtifactError, ConfigError, SourceError
from langtailor.models.folder import ModelInfo
from langtailor.sources.hub import Snapshot, download, find_snapshot
from langtailor.sources.hub_client import PATIENCE, Patience
from langtailor.storage.artifacts import MANIFEST_NAME, Manifest, read_manifest
from langtailor.storage.json_files import load_json_object
from langtailor.storage.tables import damage_named, manifest_of, write_table
from langtailor.vectors.origin import decisive, reading_settings, teacher_digest
from langtailor.vectors.store import DIGEST_BYTES, KIND, VectorShard, write_shard

_LOG = logging.getLogger("langtailor")
#: Kind of the data set and of each of its files.
PUBLISHED_KIND = "published vectors"
_KEY = "vectors.source"
#: What is known of a shard besides its rows, and is kept if the shard is identical to the published one.
SHARD_FACTS = ("tokens", "padding_share")


def published_schema(dimension: int) -> pa.Schema:
    """Columns of a file: what a shard has, with the digest in hexadecimal digits, and the text where that is published."""
    return pa.schema(
        [
            ("id", pa.string()),
            ("language", pa.string()),
            ("split", pa.string()),
            ("text_digest", pa.string()),
            ("vector", pa.list_(pa.float16(), dimension)),
            ("text", pa.string()),
        ]
    )


def published_folder(lang: str) -> str:
    """Where the files of a language are in the data set."""
    return f"data/{lang}"


def write_published(shard: VectorShard, lang: str, texts: Sequence[str] | None, out: Path) -> None:
    """Write one shard as a file of the data set.

    Args:
        shard: the shard.
        lang: its language.
        texts: what the teacher read of each passage, without the prompt; ``None`` leaves the column out.
        out: the Parquet file.
    """
    rows, dimension = shard.vectors.shape
    columns = {
        "id": shard.ids,
        "language": pa.array([lang] * rows, pa.string()),
        "split": shard.splits,
        "text_digest": pa.array([digest.hex() for digest in shard.digests.to_pylist()], pa.string()),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(shard.vectors.reshape(-1), pa.float16()), dimension),
    } | ({} if texts is None else {"text": pa.array(texts, pa.string())})
    schema = pa.schema([field for field in published_schema(dimension) if field.name in columns])
    facts = {name: shard.manifest.facts[name] for name in (*SHARD_FACTS, "sha256")}
    manifest = Manifest(PUBLISHED_KIND, decisive(shard.manifest.made_by), {"language": lang}, facts)
    write_table(out, pa.table(columns, schema=schema), manifest)


def fetch_published(
    source: VectorSource,
    lang: str,
    teacher: Path,
    settings: TeacherSettings,
    out: Path,
    work: Path,
    patience: Patience = PATIENCE,
) -> None:
    """Bring the published vectors of a language into the run, as one file like a shard (kind ``vectors``).

    Args:
        source: the data set.
        lang: the language. Where the data set lacks it, the file is empty.
        teacher: the run's teacher.
        settings: how it reads text of the language.
        out: the file. Its facts hold those of the published shards, by their checksum.
        work: folder for downloads, kept between attempts.
        patience: how long to try.

    Raises:
        ConfigError: the data set has no published vectors, or those of another teacher, prompt, length limit or precision.
        HubError: the Hub refuses or cannot be reached.
        SourceError: a file cannot be read.
    """
    snapshot = find_snapshot(source.dataset, "dataset", source.revision, patience)
    commit, page = snapshot.repository.revision, snapshot.repository.page
    folder, ours, reading = work / commit, read_manifest(teacher, "teacher"), reading_settings(teacher, settings)
    _refuse_other_teacher(_manifest(snapshot, folder, patience), ours, reading, lang, page)
    names = sorted(name for name in snapshot.files if PurePosixPath(name).parent.as_posix() == published_folder(lang))
    download(snapshot, names, folder, patience)
    if not names:
        _LOG.warning("%s has no vectors of %s: the teacher computes them", page, lang)
    dimension = ModelInfo.read(teacher).dimension
    parts = [_read(folder / name, dimension) for name in names]
    table = pa.concat_tables([_columns_read(dimension).empty_table(), *(part for part, _ in parts)])
    facts = {made.facts["sha256"]: {name: made.facts[name] for name in SHARD_FACTS} for _, made in parts}
    inputs = {"teacher": teacher_digest(ours), "dataset": source.dataset, "commit": commit}
    _write(out, table, dimension, Manifest(KIND, reading, inputs, {"shards": facts}))
    _LOG.info("%s published vectors of %s from %s", f"{table.num_rows:,}", lang, page)


def _write(out: Path, table: pa.Table, dimension: int, manifest: Manifest) -> None:
    vectors = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, dimension)
    if not np.isfinite(vectors).all():
        raise SourceError(f"config `{_KEY}`: {manifest.inputs['dataset']} holds a vector that is not finite")
    digests = pa.array([bytes.fromhex(digest) for digest in table["text_digest"].to_pylist()], pa.binary(DIGEST_BYTES))
    write_shard(out, table["id"].combine_chunks(), table["split"].combine_chunks(), digests, vectors, manifest)


def _manifest(snapshot: Snapshot, folder: Path, patience: Patience) -> Manifest:
    """What the data set says of itself."""
    page = snapshot.repository.page
    if MANIFEST_NAME not in snapshot.files:
        raise ConfigError(_KEY, f"{page} has no {MANIFEST_NAME}: it was not made by `snakemake publish`")
    download(snapshot, [MANIFEST_NAME], folder, patience)
    try:
        manifest = Manifest(**load_json_object(folder / MANIFEST_NAME))
    except (ArtifactError, TypeError) as error:
        raise ConfigError(_KEY, f"{page}: its {MANIFEST_NAME} cannot be read ({error})") from error
    if manifest.kind != PUBLISHED_KIND:
        raise ConfigError(_KEY, f"{page} holds {manifest.kind!r} where {PUBLISHED_KIND!r} are needed")
    return manifest


def _refuse_other_teacher(
    published: Manifest, ours: Manifest, reading: Mapping[str, Any], lang: str, page: str
) -> None:
    if published.inputs.get("teacher") != teacher_digest(ours):
        raise ConfigError(
            _KEY,
            f"{page} holds vectors of another teacher: {_named(published.made_by, published.inputs)}. This run's is "
            f"{_named(reading, ours.inputs)}. Set `teacher.model` and `teacher.revision` to that one, or remove this key",
        )
    made_by = {**published.made_by, "prompt": published.made_by["prompts"].get(lang, reading["prompt"])}
    for key, value in decisive(reading).items():
        if made_by.get(key) != value:
            raise ConfigError(
                _KEY,
                f"{page} holds vectors of {lang} made with another {key}: {made_by.get(key)!r}, this run's is {value!r}. "
                f"Set `teacher.{key}` to that one, or remove this key",
            )


def _named(made_by: Mapping[str, Any], inputs: Mapping[str, Any]) -> str:
    model, commit = made_by.get("model") or "a local model", inputs.get("commit")
    return f"{model} at commit {commit}" if commit else str(model)


def _read(path: Path, dimension: int) -> tuple[pa.Table, Manifest]:
    """The rows of a file, without its texts, and what made it."""
    columns = _columns_read(dimension)
    try:
        with damage_named(path):
            table = pq.read_table(path, columns=columns.names, page_checksum_verification=True, partitioning=None)
        manifest = manifest_of(path, table.schema, PUBLISHED_KIND)
    except (ArtifactError, KeyError) as error:
        raise SourceError(
            f"config `{_KEY}`: {path.name} of the data set cannot be read: {error.__cause__ or error}"
        ) from error
    if not table.schema.equals(columns, check_metadata=False):
        raise SourceError(
            f"config `{_KEY}`: {path.name} of the data set has other columns than {', '.join(columns.names)}"
        )
    return table.replace_schema_metadata(), manifest


def _columns_read(dimension: int) -> pa.Schema:
    return pa.schema([field for field in published_schema(dimension) if field.name not in ("language", "text")])
