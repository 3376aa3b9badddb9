"""What training reads: stored token ids on one side, stored teacher vectors on the other, all languages together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from langtailor.config.distillation import DistillationSettings
from langtailor.distillation.candidates import Candidates
from langtailor.distillation.hidden_states import WholeClone
from langtailor.distillation.sts_pairs import StsDevSet, load_sts_dev_set
from langtailor.distillation.tokens import TRAINING_SPLITS, Ids, TokenFile, TokenRows, tokenizer_digest
from langtailor.errors import ArtifactError, ConfigError
from langtailor.models.folder import ModelInfo
from langtailor.models.length_batches import Rows
from langtailor.storage.artifacts import directory_digest, verify_directory
from langtailor.storage.digests import sha256_file
from langtailor.vectors.store import VectorStore

_LOG = logging.getLogger("langtailor")
Array = TypeVar("Array", bound=NDArray[Any])
#: Kinds of models that a training starts from.
STARTS = ("clone", "distilled")


class CandidateFile(NamedTuple):
    """Where the candidates of one side of a language are, and which passages they are chosen from.

    Attributes:
        path: ``retrieval/candidates/{lang}/{side}.parquet``.
        among: under which name the training has the other side.
    """

    path: Path
    among: str


@dataclass(frozen=True)
class Data:
    """What a run reads.

    Attributes:
        clone: the folder of the model that is trained.
        train: passages to train on.
        validation: held-out passages; may be empty.
        inputs: digests of everything read.
        prompt_length: tokens of the prompt, for models whose pooling leaves it out.
        sts_dev_set: sentence pairs with human scores, which validation also scores.
    """

    clone: Path
    train: Passages
    validation: Passages
    inputs: Mapping[str, Any]
    prompt_length: int | None
    sts_dev_set: StsDevSet | None = None


class Passages:
    """One split of all languages. Rows count through the languages in alphabetical order, each in corpus order.

    In retrieval queries and documents of a language are apart, as languages are.

    Args:
        tokens: token ids of the split by language.
        vectors: the teacher's vectors of the split by language.
        candidates: in retrieval, those of each passage by language.

    Attributes:
        languages: each language's rows; languages without a passage are left out.
        lengths: tokens of each passage; int32, shape (n,).

    Raises:
        ArtifactError: tokens and vectors do not belong together.
    """

    def __init__(
        self,
        tokens: Mapping[str, TokenRows],
        vectors: Mapping[str, VectorStore],
        candidates: Mapping[str, Candidates] | None = None,
    ) -> None:
        self._tokens = {lang: tokens[lang] for lang in sorted(tokens) if len(tokens[lang])}
        self._vectors = {lang: vectors[lang] for lang in self._tokens}
        width = max((lists.rows.shape[1] for lists in (candidates or {}).values()), default=0)
        self._candidates = {lang: candidates[lang].wider(width) for lang in self._tokens} if candidates else {}
        for lang, rows in self._tokens.items():
            self._vectors[lang].check_ids(rows.ids())
            if candidates and not rows.ids().equals(pa.chunked_array([candidates[lang].ids])):
                raise ArtifactError(candidates[lang].path, f"has other passages of {lang} than the tokens")
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

    def candidates(self, rows: Rows) -> tuple[NDArray[np.float32] | None, NDArray[np.bool_] | None]:
        """The teacher's vectors of passages' candidates, shape (len(rows), k, dimension), and which of them there are.

        Nothing where there are no candidates.
        """
        if not self._candidates:
            return None, None
        width = next(iter(self._candidates.values())).rows.shape[1]
        vectors = np.empty((len(rows), width, self.dimension), np.float32)
        present = np.empty((len(rows), width), np.bool_)
        for in_language, lang, its_rows in self._by_language(rows):
            vectors[in_language] = self._candidates[lang].take(its_rows)
            present[in_language] = self._candidates[lang].present(its_rows)
        return vectors, present

    def _from_vectors(self, rows: Rows, out: Array, take: Callable[[VectorStore, Rows], Array]) -> Array:
        """Fill ``out`` with what ``take`` gives for each language's rows of its store."""
        for in_language, lang, its_rows in self._by_language(rows):
            out[in_language] = take(self._vectors[lang], its_rows)
        return out

    def _by_language(self, rows: Rows) -> Iterator[tuple[NDArray[np.bool_], str, Rows]]:
        """Of each language that some rows are of: which of the rows, its name, and their numbers within it."""
        language_of_row = self._language_numbers(rows)
        for number, lang in enumerate(self._tokens):
            if (in_language := language_of_row == number).any():
                yield in_language, lang, rows[in_language] - self._starts[number]

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
    candidates: Mapping[str, CandidateFile] | None = None,
    *,
    prompt: str | None = None,
    trust_remote_code: bool = False,
    whole: WholeClone | None = None,
) -> Data:
    """Open and check everything that a run reads; the arguments are those of :class:`~langtailor.distillation.train.Training`.

    Raises:
        ArtifactError: something is damaged or does not belong to the rest.
        SourceError: the sentence pairs cannot be read.
    """
    _LOG.info("reading tokens and vectors of %s", ", ".join(sorted(tokens)))
    if (kind := verify_directory(clone).kind) not in STARTS:
        raise ArtifactError(clone, f"is a {kind!r} artifact where a model to train is expected")
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
    if whole is not None:
        inputs["whole"] = whole.digest()
    if candidates:
        inputs["candidates"] = {lang: sha256_file(lists.path) for lang, lists in sorted(candidates.items())}
    train, validation = (_passages(files, vectors, candidates or {}, split) for split in TRAINING_SPLITS)
    sts_dev_set = None
    if settings.validation_sts is not None:
        sts_dev_set = load_sts_dev_set(
            clone, settings.validation_sts, prompt, settings.max_length, trust_remote_code=trust_remote_code
        )
        inputs["validation_sts"] = {"pairs": sts_dev_set.digest, "prompt": prompt}
    return Data(clone, train, validation, inputs, _prompt_length(files, ModelInfo.read(clone)), sts_dev_set)


def _prompt_length(files: Mapping[str, TokenFile], model: ModelInfo) -> int | None:
    """Tokens of the prompt, for a pooling that leaves them out."""
    lengths = {file.manifest.facts["prompt_length"] for file in files.values()}
    if len(lengths) > 1:
        if model.pools_prompt:
            return None
        raise ConfigError(
            "teacher",
            "the model's pooling leaves the prompt out, and the prompts of its languages, or of queries and documents, have "
            "different numbers of tokens, which one training cannot read; leave `language_prompts` and `retrieval` out",
        )
    (length,) = lengths
    return None if length is None else int(length)


def _check_limit(path: Path, file: TokenFile, max_length: int | None) -> None:
    limit = file.manifest.made_by["max_length"]
    if limit != max_length:
        raise ArtifactError(path, f"was truncated at {limit} tokens, but max_length is {max_length}")


def _verified_digests(shards: Sequence[Path]) -> list[str]:
    return [shard.manifest.facts["sha256"] for shard in VectorStore.open(shards).shards]


def _passages(
    files: Mapping[str, TokenFile],
    vectors: Mapping[str, Sequence[Path]],
    candidates: Mapping[str, CandidateFile],
    split: str,
) -> Passages:
    """The passages of a split, whose shards are verified by now."""
    stores = {lang: VectorStore.open(vectors[lang], split, verify=False) for lang in files}
    lists = {lang: Candidates.read(file.path, split, vectors[file.among]) for lang, file in candidates.items()}
    return Passages({lang: file.split(split) for lang, file in files.items()}, stores, lists)
