"""Section of the page: sentences of the test split as the tokenizers of teacher and student segment them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from langtailor.models.tokenizer_file import open_tokenizer
from langtailor.report.formats import beginning
from langtailor.storage.json_files import load_json_object
from langtailor.storage.tables import CORPUS, VOCABULARY, read_table
from langtailor.surgery.unknowns import unknown_id

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

#: Characters of a sentence on the page; of a longer passage its beginning is shown.
_SHORTEST, _LONGEST = 20, 140
#: Languages that are not folded, and those up to which each has two sentences.
_SHOWN, _FEW = 6, 12


@dataclass(frozen=True)
class Piece:
    """A token, or several that share characters.

    Attributes:
        before: text between the piece before and this one that belongs to no token, as white space.
        text: the piece's text.
        tokens: the tokens, joined by blanks.
        kind: ``gone`` (the student does not have it), ``new`` (the teacher does not have it), ``unknown``, or empty.
    """

    before: str
    text: str
    tokens: str
    kind: str


@dataclass(frozen=True)
class Reading:
    """A sentence as one model reads it: the model, the number of tokens and the pieces."""

    model: str
    count: int
    pieces: Sequence[Piece]


@dataclass(frozen=True)
class Example:
    """A sentence, and how each model reads it."""

    text: str
    readings: Sequence[Reading]


@dataclass(frozen=True)
class LanguageReadings:
    """The sentences of a language.

    Attributes:
        lang: the language.
        code: the language as a browser knows it; empty where the name is none of its codes.
        examples: sentences.
    """

    lang: str
    code: str
    examples: Sequence[Example]


@dataclass(frozen=True)
class ReadingGroup:
    """Languages that stand together on the page, folded or not."""

    languages: Sequence[LanguageReadings]
    folded: bool


@dataclass(frozen=True)
class Reader:
    """A model's tokenizer.

    Attributes:
        model: name of the model.
        tokenizer: its tokenizer.
        kinds: kind of its tokens by id; none of a token that both models have.
    """

    model: str
    tokenizer: Tokenizer
    kinds: Mapping[int, str]

    def read(self, text: str) -> Reading:
        """A text in pieces, without special tokens around it."""
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        return Reading(self.model, len(encoding.ids), list(_pieces(text, encoding, self.kinds)))


def readings(
    root: Path, languages: Sequence[str], targets: Sequence[str], variants: Mapping[str, str], whole: tuple[str, Path]
) -> list[ReadingGroup]:
    """Sentences of every language with test passages, the target languages first; of many languages the rest is folded.

    Args:
        root: the run's folder.
        languages: languages of the corpus.
        targets: target languages.
        variants: names of the variants, each with that under which its tokenizer lies.
        whole: the model whose vocabulary was cut: what it is called on the page, and its folder.

    Raises:
        ArtifactError: a corpus, vocabulary or tokenizer is missing or damaged.
    """
    readers = _readers(root, variants, whole)
    count = 2 if len(languages) <= _FEW else 1
    languages_shown = []
    for lang in sorted(languages, key=lambda lang: (lang not in targets, lang)):
        sentences = shown_sentences(root / "corpus" / f"{lang}.parquet", count)
        code = lang if re.fullmatch("[a-z]{2,3}", lang) else ""
        languages_shown.append(
            LanguageReadings(
                lang, code, [Example(text, [reader.read(text) for reader in readers]) for text in sentences]
            )
        )
    languages_shown = [language for language in languages_shown if language.examples]
    groups = [ReadingGroup(languages_shown[:_SHOWN], False), ReadingGroup(languages_shown[_SHOWN:], True)]
    return [group for group in groups if group.languages]


def shown_sentences(corpus: Path, count: int) -> list[str]:
    """The first passages of the test split that are short enough to be shown whole, or else the beginnings of the first.

    Args:
        corpus: the language's corpus.
        count: how many at most.
    """
    table, _ = read_table(corpus, "corpus", CORPUS, columns=["text"], where=pc.field("split") == "test")
    texts = table["text"].to_pylist()
    fitting = sorted(texts, key=lambda text: not _SHORTEST <= len(text) <= _LONGEST)  # stable
    return [beginning(text, _LONGEST) for text in fitting[:count]]


def _readers(root: Path, variants: Mapping[str, str], whole: tuple[str, Path]) -> list[Reader]:
    """The reader of the model whose vocabulary was cut and the students', of which those with the same tokenizer share one."""
    by_content: dict[bytes, list[str]] = {}
    for name, place in variants.items():
        by_content.setdefault((root / "tokenizer" / place / "tokenizer.json").read_bytes(), []).append(name)
    students = list(by_content.values())
    places = [variants[names[0]] for names in students]
    kept = [_teacher_ids(root, place) for place in places]
    name, folder = whole
    size = open_tokenizer(folder).get_vocab_size()
    gone = set(range(size)).difference(*kept)
    readers = [_reader(name, folder, dict.fromkeys(gone, "gone"))]
    for names, place, ids in zip(students, places, kept, strict=True):
        new = [row for row, teacher_id in enumerate(ids) if teacher_id is None]
        label = "student" if len(students) == 1 else ", ".join(names)
        readers.append(_reader(label, root / "tokenizer" / place, dict.fromkeys(new, "new")))
    return readers


def _teacher_ids(root: Path, variant: str) -> list[int | None]:
    """The teacher's id of each of a variant's tokens; ``None`` of new ones."""
    table, _ = read_table(root / "vocabulary" / f"{variant}.parquet", "vocabulary", VOCABULARY, columns=["teacher_id"])
    ids: list[int | None] = table["teacher_id"].to_pylist()
    return ids


def _reader(model: str, folder: Path, kinds: dict[int, str]) -> Reader:
    unknown = unknown_id(load_json_object(folder / "tokenizer.json"))
    return Reader(model, open_tokenizer(folder), kinds if unknown is None else {**kinds, unknown: "unknown"})


def _pieces(text: str, encoding: Encoding, kinds: Mapping[int, str]) -> Iterator[Piece]:
    """Tokens with the characters that they stand for; tokens that share a character, as bytes do, are one piece."""
    end = 0
    for first, last, members in _spans(encoding):
        tokens = " ".join(encoding.tokens[i] for i in members)
        kind = next((kinds[encoding.ids[i]] for i in members if encoding.ids[i] in kinds), "")
        yield Piece(text[end:first], text[first:last], tokens, kind)
        end = last


def _spans(encoding: Encoding) -> list[tuple[int, int, list[int]]]:
    """Start and end of each piece in characters, and the places of its tokens."""
    spans: list[tuple[int, int, list[int]]] = []
    for place, (start, end) in enumerate(encoding.offsets):
        if spans and start < spans[-1][1]:
            first, last, members = spans[-1]
            spans[-1] = (first, max(last, end), [*members, place])
        else:
            spans.append((start, end, [place]))
    return spans
