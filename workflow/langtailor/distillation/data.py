"""What training reads: stored token ids on one side, stored teacher vectors on the other, all languages together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from langtailor.config.distillation import DistillationSettings
from langtailor.config.teacher import TeacherSettings
from langtailor.distillation.sts_pairs import StsDevSet, load_sts_dev_set
from langtailor.distillation.tokens import TRAINING_SPLITS, Ids, TokenFile, TokenRows, tokenizer_digest
from langtailor.errors import ArtifactError
from langtailor.models.length_batches import Rows
from langtailor.storage.artifacts import directory_digest, read_manifest
from langtailor.vectors.store import VectorStore

_LOG = logging.getLogger("langtailor")
Array = TypeVar("Array", bound=NDArray[Any])


@dataclass(frozen=True)
class Data:
    """What a run reads.

    Attributes:
        train: passages to train on.
        validation: held-out passages; may be empty.
        inputs: digests of everything read.
        prompt_length: tokens of the prompt, for models whose pooling leaves it out.
        sts_dev_set: sentence pairs with human scores on which validation measures, too.
    """

    train: Passages
    validation: Passages
    inputs: Mapping[str, Any]
    prompt_length: int | None
    sts_dev_set: StsDevSet | None = None


class Passages:
    """One split of all languages. Rows count through the languages in alphabetical order, each in corpus order.

    Args:
        tokens: token ids of the split by language.
        vectors: the teacher's vectors of the split by language.

    Attributes:
        languages: each language's rows; languages without a passage are left out.
        lengths: tokens of each passage; int32, shape (n,).

    Raises:
        ArtifactError: tokens and vectors do not belong together.
    """

    def __init__(self, tokens: Mapping[str, TokenRows], vectors: Mapping[str, VectorStore]) -> None:
        self._tokens = {lang: tokens[lang] for lang in sorted(tokens) if len(tokens[lang])}
        self._vectors = {lang: vectors[lang] for lang in self._tokens}
        for lang, rows in self._tokens.items():
            self._vectors[lang].check_ids(rows.ids())
        sizes = [len(rows) for rows in self._tokens.values()]
        self._starts = np.cumsum([0, *sizes])
        self.languages = {
            lang: slice(int(start), int(start) + size)
            for lang, start, size in zip(self._tokens, self._starts, sizes, strict=False)
        }
        self.lengths: Ids = np.concatenate([np.empty(0, np.int32), *(rows.lengths for rows in self._tokens.values())])

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def dimension(self) -> int:
        """Width of the teacher's vectors."""
        return next(iter(self._vectors.values())).dimension

    def tokens(self, rows: Rows) -> list[Ids]:
        """Token ids of passages; each int32, shape (tokens,)."""
        return [self._tokens[lang][row] for lang, row in self._rows_in_languages(rows)]

    def names(self, rows: Rows) -> list[str]:
        """Passages as ``language:id``."""
        return [f"{lang}:{self._tokens[lang].id(row)}" for lang, row in self._rows_in_languages(rows)]

    def targets(self, rows: Rows) -> NDArray[np.float32]:
        """The teacher's vectors of passages; shape (len(rows), dimension)."""
        return self._from_vectors(rows, np.empty((len(rows), self.dimension), np.float32), VectorStore.take)

    def texts(self, rows: Rows) -> Rows:
        """Numbers of the texts that the teacher read for passages, equal for equal texts; int64, shape (len(rows),)."""
        return self._from_vectors(rows, np.empty(len(rows), np.int64), VectorStore.text_numbers)

    def _from_vectors(self, rows: Rows, out: Array, take: Callable[[VectorStore, Rows], Array]) -> Array:
        """Fill ``out`` with what ``take`` gives for each language's rows of its store."""
        language_of_row = self._language_numbers(rows)
        for number, lang in enumerate(self._tokens):
            if (in_language := language_of_row == number).any():
                out[in_language] = take(self._vectors[lang], rows[in_language] - self._starts[number])
        return out

    def _language_numbers(self, rows: Rows) -> Rows:
        return np.searchsorted(self._starts, rows, side="right") - 1

    def _rows_in_languages(self, rows: Rows) -> list[tuple[str, int]]:
        names = list(self._tokens)
        numbers = self._language_numbers(rows)
        return [(names[number], int(row - self._starts[number])) for number, row in zip(numbers, rows, strict=True)]


def load_data(
    clone: Path,
    tokens: Mapping[str, Path],
    vectors: Mapping[str, Sequence[Path]],
    settings: DistillationSettings,
    *,
    trust_remote_code: bool = False,
) -> Data:
    """Open and check everything that a run reads; the arguments are those of :func:`langtailor.distillation.train.distil`.

    Raises:
        ArtifactError: something is damaged or does not belong to the rest.
        SourceError: the sentence pairs cannot be read.
    """
    _LOG.info("reading tokens and vectors of %s", ", ".join(sorted(tokens)))
    read_manifest(clone, "clone")
    files = {lang: TokenFile(path) for lang, path in sorted(tokens.items())}
    tokenizer = tokenizer_digest(clone)
    for lang, file in files.items():
        if file.manifest.inputs["tokenizer"] != tokenizer:
            raise ArtifactError(tokens[lang], f"was not made with the tokenizer of {clone}")
        _check_limit(tokens[lang], file, settings.max_length)
    inputs: dict[str, Any] = {
        "clone": directory_digest(clone),
        "tokens": {lang: file.manifest.facts["sha256"] for lang, file in files.items()},
        "vectors": {lang: _verified_digests(vectors[lang]) for lang in files},
    }
    train, validation = (_passages(files, vectors, split) for split in TRAINING_SPLITS)
    manifest = next(iter(files.values())).manifest
    sts_dev_set = None
    if settings.validation_sts is not None:
        prompt = manifest.made_by["prompt"]
        reading = TeacherSettings(model=str(clone), prompt=prompt, trust_remote_code=trust_remote_code)
        sts_dev_set = load_sts_dev_set(clone, settings.validation_sts, reading, settings.max_length)
        inputs["validation_sts"] = sts_dev_set.digest
    return Data(train, validation, inputs, manifest.facts["prompt_length"], sts_dev_set)


def _check_limit(path: Path, file: TokenFile, max_length: int | None) -> None:
    limit = file.manifest.made_by["max_length"]
    if limit != max_length:
        raise ArtifactError(path, f"was truncated at {limit} tokens, but max_length is {max_length}")


def _verified_digests(shards: Sequence[Path]) -> list[str]:
    return [shard.manifest.facts["sha256"] for shard in VectorStore.open(shards).shards]


def _passages(files: Mapping[str, TokenFile], vectors: Mapping[str, Sequence[Path]], split: str) -> Passages:
    """The passages of a split, whose shards are verified by now."""
    stores = {lang: VectorStore.open(vectors[lang], split, verify=False) for lang in files}
    return Passages({lang: file.split(split) for lang, file in files.items()}, stores)
