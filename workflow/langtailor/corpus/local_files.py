"""Documents from the sample corpus and from the user's own files.

Documents come in the order of the files; sampling is the business of :mod:`langtailor.corpus.documents`, and the formats
of :mod:`langtailor.corpus.records`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from langtailor.config.corpus import FilesSource
from langtailor.corpus.compression import COMPRESSIONS, compression_of, is_what_its_suffix_says
from langtailor.corpus.document import Document
from langtailor.corpus.records import FORMATS, Record, format_of, read_records
from langtailor.corpus.text_file import read_lines
from langtailor.errors import SourceError
from langtailor.storage.artifacts import canonical_json
from langtailor.storage.digests import sha256_bytes, sha256_file

#: The sample corpus, which is part of the package: `{lang}.txt`, where line i means the same in every language.
SAMPLE = Path(__file__).parent / "sample"
SAMPLE_PIVOT = "en"
#: The suffixes that are read, for messages.
SUFFIXES = f"{', '.join(FORMATS)}, each also with {', '.join(COMPRESSIONS)}"


@dataclass(frozen=True)
class LocalCorpus:
    """Local files of one language, readable any number of times.

    Attributes:
        files: what is read, in order, by the name that its documents' ids carry.
        source: fields and pairing.
        pair_path: the text file aligned with the one text file, if any.
        id_digits: least digits of a line number in an id.
        left_out: files of the folder that are not read, by name, and why.
    """

    files: dict[str, Path]
    source: FilesSource
    pair_path: Path | None = None
    id_digits: int = 1
    left_out: dict[str, str] = field(default_factory=dict)

    def documents(self) -> Iterator[Document]:
        """All documents, blank ones too; a pair that is missing in a parallel source is empty.

        Raises:
            SourceError: names file, line and field that cannot be read.
        """
        for name, path in self.files.items():
            for number, record in enumerate(self._records(path), 1):
                identity = f"{name}:{number:0{self.id_digits}d}" if record.id is None else record.id
                yield Document(identity, record.text, record.pair)

    def revision(self) -> str:
        """SHA-256 over names and contents of all files."""
        return sha256_bytes(canonical_json({name: sha256_file(path) for name, path in self.paths.items()}).encode())

    @property
    def paths(self) -> dict[str, Path]:
        """All files that are read, by name."""
        return {**self.files, **({} if self.pair_path is None else {"pair": self.pair_path})}

    def _records(self, path: Path) -> Iterator[Record]:
        return read_records(path, self.source) if self.pair_path is None else _aligned_records(path, self.pair_path)


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
            "Use one of these, or another source for this language in `corpus.sources`."
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
    files, left_out = _files_below(root) if root.is_dir() else ({root.name: root}, {})
    if unknown := [path for path in files.values() if format_of(path) not in FORMATS]:
        raise SourceError(f"{unknown[0]} is none of {SUFFIXES}")
    if source.pair_path is None:
        return LocalCorpus(files, source, left_out=left_out)
    if root.is_dir() or format_of(root) != ".txt":
        raise SourceError(
            f"{root} has a `pair_path`, which needs one plain text file (.txt, also compressed); Parquet, JSON and "
            "CSV name a `pair_field`, and TSV has the pair in its second column."
        )
    return LocalCorpus(files, source, _existing(source.pair_path, lang, "pair_path"))


def _existing(template: str, lang: str, key: str) -> Path:
    path = Path(template.replace("{lang}", lang)).expanduser()
    if not path.exists():
        raise SourceError(f"{path} does not exist (`{key}: {template}` of a source in `corpus.sources`)")
    return path


def _files_below(folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """The files in a folder and those below that can be read, in the order of their names, and why the others cannot."""
    below = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    reasons = {name.as_posix(): _reason_to_leave_out(name, path) for name, path in below.items()}
    left_out = {name: reason for name, reason in reasons.items() if reason is not None}
    files = {name.as_posix(): path for name, path in below.items() if name.as_posix() not in left_out}
    if not files:
        raise SourceError(f"{folder} holds no file that ends in {SUFFIXES}; found {len(below)} other files")
    return files, left_out


def _reason_to_leave_out(name: Path, path: Path) -> str | None:
    if any(part.startswith(".") for part in name.parts):
        return "hidden"
    if format_of(path) not in FORMATS:
        return f"none of {SUFFIXES}"
    if not is_what_its_suffix_says(path):
        return f"not compressed as {compression_of(path)}"
    return None


def _aligned_records(path: Path, pair_path: Path) -> Iterator[Record]:
    lines = zip_longest(read_lines(path), read_lines(pair_path))
    for number, (text, pair) in enumerate(lines, 1):
        if text is None or pair is None:
            longest = number + sum(1 for _ in lines)
            counts = (number - 1, longest) if text is None else (longest, number - 1)
            raise SourceError(
                f"{path} has {counts[0]} lines and {pair_path} {counts[1]}; "
                "line i of one must be aligned with line i of the other"
            )
        yield Record(None, text, pair)
