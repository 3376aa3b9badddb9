"""Whether all files of a tokenizer and all libraries that read them agree.

``tokenizers`` silently accepts gaps, duplicates and stale ids, ``transformers`` rebuilds some tokenizers from parts of
their files, and ``sentencepiece`` reads a file of its own. So each is run and compared with ``tokenizer.json``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from langtailor.models.loading import load_sentence_transformer
from langtailor.models.tokenizer_file import tokenizer_of
from langtailor.storage.json_files import load_json_object
from langtailor.surgery.base import Family, Layout
from langtailor.surgery.sentencepiece_model import sentencepiece_files
from langtailor.surgery.unknowns import unknown_id

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Rows = list[list[str]]

#: Largest relative error of one float32 addition.
_FLOAT32_ERROR = 2.0**-24
#: How much lower than the lowest score that of an unknown character is (``K_UNK_PENALTY`` in tokenizers,
#: ``kUnkPenalty`` in sentencepiece).
_UNKNOWN_PENALTY = 10.0
_EXAMPLES = 5
_SENTENCE_TRANSFORMERS = "sentence-transformers"
#: Tokens of a text; longer than any.
_LONGEST = 1_000_000


@dataclass(frozen=True)
class Agreement:
    """How files and libraries agree with ``tokenizer.json``.

    Attributes:
        report: by library, passages compared, passages on which it agrees, and the same for the teacher; JSON-ready.
        problems: what is broken, in words.
    """

    report: Mapping[str, Mapping[str, int]]
    problems: Sequence[str]


@dataclass(frozen=True)
class LibraryReading:
    """How sentence-transformers makes a text into ids for the teacher.

    Attributes:
        teacher: the teacher's folder.
        prompts: prompts that may precede a text, by name.
        trust_remote_code: run Python code that comes with the teacher.
    """

    teacher: Path
    prompts: Mapping[str, str] = field(default_factory=dict)
    trust_remote_code: bool = False

    def ids(self, folder: Path, texts: Sequence[str]) -> list[list[int]]:
        """The ids that a model of the teacher's modules with the tokenizer in ``folder`` reads, special ones included.

        The texts take the prompts in turn, and the first of each round none.
        """
        with TemporaryDirectory() as place:
            overlay = Path(place)
            for source in (self.teacher, folder):
                for file in source.iterdir():
                    (overlay / file.name).unlink(missing_ok=True)
                    (overlay / file.name).symlink_to(file.resolve())
            model = load_sentence_transformer(overlay, "cpu", "auto", trust_remote_code=self.trust_remote_code)
            model.max_seq_length = _LONGEST
            return [_unpadded(model.preprocess([text], prompt=prompt or None)) for prompt, text in self.prompted(texts)]

    def prompted(self, texts: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Each text with the prompt before it."""
        return zip(cycle(["", *self.prompts.values()]), texts)


def _unpadded(features: Mapping[str, Any]) -> list[int]:
    ids: list[int] = features["input_ids"][0][features["attention_mask"][0].bool()].tolist()
    return ids


def check_agreement(
    family: Family, layout: Layout, reading: LibraryReading, folder: Path, texts: Sequence[str]
) -> Agreement:
    """Compare all files and libraries with ``tokenizer.json``.

    The libraries are sentence-transformers, transformers, and sentencepiece where there is a file.

    A passage counts as broken only where the library agrees about the teacher on it and, for Unigram, where the two
    segmentations differ in score by more than SentencePiece's float32 sums can tell.

    Args:
        family: the teacher's tokenizer.
        layout: the new vocabulary.
        reading: how sentence-transformers reads text for the teacher.
        folder: the new tokenizer's files.
        texts: passages that the libraries segment.
    """
    old, new = _Side(reading.teacher, reading, family.tokens), _Side(folder, reading, layout.tokens)
    problems = [*_file_problems(old, new, layout), *_transformers_problems(old, new, layout)]
    report = {}
    for library in (
        _SENTENCE_TRANSFORMERS,
        "transformers",
        "transformers with special tokens",
        *new.sentencepiece_files,
    ):
        before, after = old.differing(library, texts), new.differing(library, texts)
        ties = {i for i in after if new.tied(library, texts[i])}
        report[library] = {
            "passages": len(texts),
            "agree": len(texts) - len(after),
            "ties": len(ties),
            "teacher_agrees": len(texts) - len(before),
        }
        if broken := sorted(set(after) - set(before) - ties):
            examples = [texts[i][:80] for i in broken[:_EXAMPLES]]
            problems.append(
                f"{library} segments {len(broken)} passages otherwise than tokenizer.json, such as {examples}"
            )
    return Agreement(report, problems)


class _Side:
    """The teacher's tokenizer or the new one, as every library reads it. Segmentations are rows of token names.

    Args:
        folder: its files.
        reading: how sentence-transformers reads text; the teacher's ``config.json`` decides which class transformers
            takes.
        tokens: token by id.
    """

    def __init__(self, folder: Path, reading: LibraryReading, tokens: Sequence[str | None]) -> None:
        self.folder, self.tokens, self._reading, self._teacher = folder, tokens, reading, reading.teacher
        self.spec = load_json_object(folder / "tokenizer.json")
        self.sentencepiece_files = list(sentencepiece_files(folder))

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return tokenizer_of(self.spec)

    @cached_property
    def transformers(self) -> Any:
        from transformers import AutoConfig, AutoTokenizer

        options: dict[str, Any] = {"local_files_only": True}
        if (self._teacher / "config.json").is_file():
            options["config"] = AutoConfig.from_pretrained(self._teacher, local_files_only=True)
        return AutoTokenizer.from_pretrained(self.folder, **options)

    def differing(self, library: str, texts: Sequence[str]) -> list[int]:
        """Indices of the texts that a library segments otherwise than ``tokenizer.json``."""
        if library == _SENTENCE_TRANSFORMERS:
            read = [self.names(ids) for ids in self._reading.ids(self.folder, texts)] if texts else []
            expected = self._expected([prompt + text for prompt, text in self._reading.prompted(texts)], special=True)
            return [i for i, (row, other) in enumerate(zip(read, expected, strict=True)) if row != other]
        special = library.endswith("special tokens")
        pairs = zip(self._rows(library, texts, special=special), self._expected(texts, special=special), strict=True)
        return [i for i, (row, other) in enumerate(pairs) if row != other]

    def _expected(self, texts: Sequence[str], *, special: bool) -> Rows:
        encodings = self.tokenizer.encode_batch(list(texts), add_special_tokens=special)
        return [self.names(encoding.ids) for encoding in encodings]

    def names(self, ids: Sequence[int]) -> list[str]:
        """The tokens of the ids; an id past the end gets a name that no token has."""
        return [str(self.tokens[i]) if i < len(self.tokens) else f"(id {i})" for i in ids]

    def _rows(self, library: str, texts: Sequence[str], *, special: bool) -> Rows:
        if not texts:
            return []
        if library in self.sentencepiece_files:
            from sentencepiece import SentencePieceProcessor

            processor = SentencePieceProcessor(model_file=str(self.folder / library))
            return [[processor.id_to_piece(i) for i in row] for row in processor.encode(list(texts))]
        options = {"add_special_tokens": special, "truncation": False, "padding": False, "verbose": False}
        ids = self.transformers(list(texts), **options)["input_ids"]
        return [self.transformers.convert_ids_to_tokens(row) for row in ids]

    def tied(self, library: str, text: str) -> bool:
        """Whether SentencePiece cannot tell the scores of a Unigram's two segmentations of a text apart."""
        if library not in self.sentencepiece_files or not self._scores:
            return False
        rows = *self._rows(library, [text], special=False), *self._expected([text], special=False)
        if not self._scores.keys() >= {token for row in rows for token in row}:
            return False
        first, second = ([self._scores[token] for token in row] for row in rows)
        return indistinguishable(first, second)

    @cached_property
    def _scores(self) -> dict[str, float]:
        """Score by token of a Unigram, that of the unknown token included; empty for other models."""
        vocab = self.spec["model"]["vocab"]
        if not isinstance(vocab, list):
            return {}
        scores: dict[str, float] = dict(vocab)
        unknown = vocab[self.spec["model"]["unk_id"]][0]
        return scores | {unknown: min(scores.values()) - _UNKNOWN_PENALTY}


def indistinguishable(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether two sums of scores may compare either way when they are taken in float32.

    The error of a sum of n numbers is at most n times the error of one addition times the sum of their magnitudes
    (Higham 2002, Accuracy and Stability of Numerical Algorithms, section 4.2).
    """
    error = _FLOAT32_ERROR * sum(len(scores) * sum(map(abs, scores)) for scores in (first, second))
    return abs(sum(first) - sum(second)) <= error


def _file_problems(old: _Side, new: _Side, layout: Layout) -> Iterator[str]:
    vocab = new.tokenizer.get_vocab(with_added_tokens=True)
    if wrong := _differences(vocab, layout.new_id) or _differences(layout.new_id, vocab):
        yield f"tokenizer.json: ids differ from the vocabulary table: {wrong}"
    if _unknown_token(old) != _unknown_token(new):
        yield f"tokenizer.json: the unknown token is {_unknown_token(new)!r}, the teacher's {_unknown_token(old)!r}"
    for texts in (("",), ("", "")):
        around = [side.names(side.tokenizer.encode(*texts).ids) for side in (old, new)]
        if around[0] != around[1]:
            yield f"tokenizer.json: the post-processor writes {around[1]} around a text, the teacher's {around[0]}"
    for name, file_ids in _ids_in_files(new):
        if wrong := _differences(file_ids, layout.new_id):
            yield f"{name}: ids differ from the vocabulary table: {wrong}"


def _transformers_problems(old: _Side, new: _Side, layout: Layout) -> Iterator[str]:
    """Where transformers reads the new files otherwise than tokenizer.json, and read the teacher's alike."""
    before, after = old.transformers, new.transformers
    appended = before.get_vocab().keys() - {token for token in old.tokens if token is not None}
    vocab = {token: i for token, i in after.get_vocab().items() if token not in appended}
    if wrong := _differences(vocab, layout.new_id) or _differences(layout.new_id, vocab):
        yield f"transformers: ids differ from tokenizer.json: {wrong}"
    for role, token in before.special_tokens_map.items():
        # A token that was dropped, such as one beyond the embedding table, has no role any more. One that the library
        # adds to the teacher's itself, as its class names it by default, it adds to the new ones, too.
        expected = token if token in layout.new_id or token in appended else None
        if isinstance(token, str) and after.special_tokens_map.get(role) != expected:
            yield f"transformers: {role} is {after.special_tokens_map.get(role)!r}, in the teacher {token!r}"


def _ids_in_files(side: _Side) -> Iterator[tuple[str, dict[str, int]]]:
    """The ids that each of the files gives to tokens."""
    spec, folder = side.spec, side.folder
    yield "tokenizer.json `added_tokens`", {entry["content"]: entry["id"] for entry in spec.get("added_tokens") or ()}
    if padding := spec.get("padding"):
        yield "tokenizer.json `padding`", {padding["pad_token"]: padding["pad_id"]}
    config = load_json_object(folder / "tokenizer_config.json", missing_is_empty=True)
    decoder = config.get("added_tokens_decoder") or {}
    yield "tokenizer_config.json", {entry["content"]: int(i) for i, entry in decoder.items()}
    for name in ("added_tokens.json", "vocab.json"):
        yield name, load_json_object(folder / name, missing_is_empty=True)
    if (folder / "vocab.txt").is_file():
        lines = (folder / "vocab.txt").read_bytes().decode().removesuffix("\n").split("\n")
        yield "vocab.txt", {token: i for i, token in enumerate(lines)}


def _differences(file_ids: Mapping[str, int], ids: Mapping[str, int]) -> dict[str, tuple[int, int | None]]:
    """The first tokens whose two ids differ, with both ids."""
    wrong = [(token, (i, ids.get(token))) for token, i in file_ids.items() if ids.get(token) != i]
    return dict(wrong[:_EXAMPLES])


def _unknown_token(side: _Side) -> str | None:
    unknown = unknown_id(side.spec)
    return None if unknown is None else side.tokens[unknown]
