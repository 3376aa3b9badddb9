"""Documents from the sample corpus and from the user's own files.

Text, JSON Lines and TSV may be compressed (``.gz``). Every reader streams and names file, line and field of what it
cannot take. Documents come in the order of the files; sampling is the business of :mod:`langtailor.corpus.documents`.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from langtailor.config.corpus import FilesSource
from langtailor.corpus.document import Document
from langtailor.errors import SourceError
from langtailor.storage.artifacts import canonical_json, sha256_bytes, sha256_file

#: The sample corpus, which is part of the package: `{lang}.txt`, where line i means the same in every language.
SAMPLE = Path(__file__).parent / "sample"
SAMPLE_PIVOT = "en"
TEXT_SUFFIXES = (".txt", ".txt.gz")
SUFFIXES = (".parquet", ".jsonl", ".jsonl.gz", ".tsv", ".tsv.gz", *TEXT_SUFFIXES)
_BATCH_ROWS = 256


@dataclass(frozen=True)
class LocalCorpus:
    """Local files of one language, readable any number of times.

    Attributes:
        files: what is read, in order, by the name that its documents' ids carry.
        source: fields and pairing.
        pair_path: the text file aligned with the one text file, if any.
        id_digits: least digits of a line number in an id.
    """

    files: dict[str, Path]
    source: FilesSource
    pair_path: Path | None = None
    id_digits: int = 1

    def documents(self) -> Iterator[Document]:
        """All documents, blank ones too; a pair that is missing in a parallel source is empty.

        Raises:
            SourceError: names file, line and field that cannot be read.
        """
        for name, path in self.files.items():
            for number, row in enumerate(self._rows(path), 1):
                identity = f"{name}:{number:0{self.id_digits}d}" if row.id is None else row.id
                yield Document(identity, row.text, row.pair)

    def revision(self) -> str:
        """SHA-256 over names and contents of all files."""
        return sha256_bytes(canonical_json({name: sha256_file(path) for name, path in self.paths.items()}).encode())

    @property
    def paths(self) -> dict[str, Path]:
        """All files that are read, by name."""
        return {**self.files, **({} if self.pair_path is None else {"pair": self.pair_path})}

    def _rows(self, path: Path) -> Iterator[_Row]:
        kind = path.name.removesuffix(".gz").rpartition(".")[2]
        if kind == "parquet":
            return _parquet_rows(path, self.source)
        if kind == "jsonl":
            return _json_rows(path, self.source)
        if kind == "tsv":
            return _tsv_rows(path)
        return _text_rows(path) if self.pair_path is None else _aligned_rows(path, self.pair_path)


@dataclass(frozen=True)
class _Row:
    id: str | None
    text: str
    pair: str | None


def sample_corpus(lang: str) -> LocalCorpus:
    """The sample corpus in one language; every language but English is paired with English.

    Ids are ``sample:{line}`` in each language, so that translations of one line share a split.

    Raises:
        SourceError: the sample corpus does not have the language.
    """
    available = sorted(path.stem for path in SAMPLE.glob("*.txt"))
    if lang not in available:
        raise SourceError(
            f"the sample corpus has no language {lang!r}; it has {', '.join(available) or 'none'} (in {SAMPLE}). "
            "Take one of these, or another source for this language in `corpus.sources`."
        )
    pair_path = None if lang == SAMPLE_PIVOT else SAMPLE / f"{SAMPLE_PIVOT}.txt"
    path = SAMPLE / f"{lang}.txt"
    return LocalCorpus({"sample": path}, FilesSource(kind="files", path=str(path)), pair_path, id_digits=4)


def files_corpus(source: FilesSource, lang: str) -> LocalCorpus:
    """The user's files of one language.

    Args:
        source: where they are; ``{lang}`` in its paths stands for ``lang``.
        lang: what the source calls the language.

    Raises:
        SourceError: nothing is there, nothing that can be read is there, or the pairing does not fit.
    """
    root = _existing(source.path, lang, "path")
    paths = _files_below(root) if root.is_dir() else [root]
    files = {path.relative_to(root).as_posix() if root.is_dir() else path.name: path for path in paths}
    if unknown := [path for path in files.values() if not path.name.endswith(SUFFIXES)]:
        raise SourceError(f"{unknown[0]} is none of {', '.join(SUFFIXES)}")
    if source.pair_path is None:
        return LocalCorpus(files, source)
    if len(files) != 1 or not root.name.endswith(TEXT_SUFFIXES):
        raise SourceError(
            f"{root} has a `pair_path`, which goes with one plain text file ({', '.join(TEXT_SUFFIXES)}); "
            "Parquet and JSON Lines name a `pair_field`, and TSV has the pair in its second column."
        )
    return LocalCorpus(files, source, _existing(source.pair_path, lang, "pair_path"))


def _existing(template: str, lang: str, key: str) -> Path:
    path = Path(template.replace("{lang}", lang)).expanduser()
    if not path.exists():
        raise SourceError(f"{path} does not exist (`{key}: {template}` of a source in `corpus.sources`)")
    return path


def _files_below(folder: Path) -> list[Path]:
    """The files of the known kinds in a folder and those below, in the order of their names; hidden ones left out."""
    below = sorted(path for path in folder.rglob("*") if path.is_file())
    shown = [path for path in below if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    readable = [path for path in shown if path.name.endswith(SUFFIXES)]
    if not readable:
        raise SourceError(f"{folder} holds no file that ends in {', '.join(SUFFIXES)}; found {len(shown)} other files")
    return readable


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what reading a file can raise into an error that names the file."""
    try:
        yield
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error


def _lines(path: Path) -> Iterator[str]:
    """Lines without their ends. A byte order mark at the start is left out."""
    with _explained(path), gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise SourceError(
                    f"{path}, line {number}: is not UTF-8 (byte {error.start + 1} of the line: {error.reason}). "
                    "Convert the file to UTF-8."
                ) from error
            yield text.rstrip("\r\n")


def _text_rows(path: Path) -> Iterator[_Row]:
    for line in _lines(path):
        yield _Row(None, line, None)


def _aligned_rows(path: Path, pair_path: Path) -> Iterator[_Row]:
    rows = zip_longest(_lines(path), _lines(pair_path))
    for number, (text, pair) in enumerate(rows, 1):
        if text is None or pair is None:
            longest = number + sum(1 for _ in rows)
            counts = (number - 1, longest) if text is None else (longest, number - 1)
            raise SourceError(
                f"{path} has {counts[0]} lines and {pair_path} {counts[1]}; "
                "line i of one must be aligned with line i of the other"
            )
        yield _Row(None, text, pair)


def _tsv_rows(path: Path) -> Iterator[_Row]:
    for number, line in enumerate(_lines(path), 1):
        columns = line.split("\t")
        if len(columns) != 2:
            raise SourceError(
                f"{path}, line {number}: has {len(columns)} tab-separated columns where 2 are expected, "
                "text and aligned text"
            )
        yield _Row(None, columns[0], columns[1])


def _json_rows(path: Path, source: FilesSource) -> Iterator[_Row]:
    for number, line in enumerate(_lines(path), 1):
        place = f"{path}, line {number}"
        if not line.strip():
            yield _Row(None, "", None)
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{place}: is not JSON ({error})") from error
        if not isinstance(values, dict):
            raise SourceError(f"{place}: is a JSON {type(values).__name__} where an object with fields is expected")
        yield _row(values, source, place)


def _parquet_rows(path: Path, source: FilesSource) -> Iterator[_Row]:
    fields = [field for field in (source.text_field, source.pair_field, source.id_field) if field is not None]
    with _explained(path), pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        if missing := [field for field in fields if field not in names]:
            raise SourceError(f"{path}: has no column {missing[0]!r}; it has {', '.join(names)}")
        number = 0
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=list(dict.fromkeys(fields))):
            for values in _plain_rows(batch, f"{path}, rows {number + 1} to {number + batch.num_rows}"):
                number += 1
                yield _row(values, source, f"{path}, row {number}")


def _plain_rows(batch: pa.RecordBatch, place: str) -> Iterable[dict[str, Any]]:
    try:
        return list(batch.to_pylist())
    except UnicodeDecodeError as error:
        raise SourceError(f"{place}: hold text that is not UTF-8 ({error.reason})") from error


def _row(values: dict[str, Any], source: FilesSource, place: str) -> _Row:
    text = _text(values, source.text_field, place)
    pair = None if source.pair_field is None else _text(values, source.pair_field, place)
    return _Row(None if source.id_field is None else _identity(values, source.id_field, place), text, pair)


def _text(values: dict[str, Any], field: str, place: str) -> str:
    """A field's text; empty where the field is null."""
    value = _field(values, field, place)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise SourceError(f"{place}, field {field!r}: is a {type(value).__name__} where a text is expected")
    return _encodable(value, field, place)


def _identity(values: dict[str, Any], field: str, place: str) -> str:
    value = _field(values, field, place)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise SourceError(f"{place}, field {field!r}: is {value!r} where an id, a text or a whole number, is expected")
    return _encodable(str(value), field, place)


def _field(values: dict[str, Any], field: str, place: str) -> Any:
    if field not in values:
        raise SourceError(f"{place}: has no field {field!r}; it has {', '.join(values) or 'none'}")
    return values[field]


def _encodable(text: str, field: str, place: str) -> str:
    """The text itself, if it is Unicode text: JSON can write halves of surrogate pairs, which are none."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SourceError(
            f"{place}, field {field!r}: holds half a surrogate pair at character {error.start + 1}, which is no text"
        ) from error
    return text
