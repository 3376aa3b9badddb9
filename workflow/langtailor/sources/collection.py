"""Queries, documents and judgements for retrieval, from files laid out as BEIR's or as SQuAD's."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from langtailor.errors import SourceError
from langtailor.sources.table_files import read_table

_LOG = logging.getLogger("langtailor")
#: The language of files that name none.
UNNAMED = "all"
#: By query, the gain of each relevant document by its row.
Relevance = tuple[Mapping[int, float], ...]


@dataclass(frozen=True)
class Collection:
    """Queries and documents, in one language or in several, and which answer which.

    Attributes:
        queries: texts by language; row i is the same query in each of them.
        documents: texts by language.
        relevant: by language of the documents, which of them answer query i.
        ids: of the documents, where their file has some.
    """

    queries: Mapping[str, tuple[str, ...]]
    documents: Mapping[str, tuple[str, ...]]
    relevant: Mapping[str, Relevance]
    ids: tuple[str, ...] = ()

    @property
    def texts(self) -> dict[str, tuple[str, ...]]:
        """All texts, by the names of :func:`queries_in` and :func:`documents_in`."""
        queries = {queries_in(lang): texts for lang, texts in self.queries.items()}
        return queries | {documents_in(lang): texts for lang, texts in self.documents.items()}


def queries_in(lang: str) -> str:
    """Name of the queries in a language."""
    return f"{lang} queries"


def documents_in(lang: str) -> str:
    """Name of the documents in a language."""
    return f"{lang} documents"


def pair_group(asking: str, answering: str) -> str:
    """The group of the figures of queries in one language and documents in another, or in the same."""
    return f"{queries_in(asking)}, {documents_in(answering)}"


def language_pair(group: str | None) -> tuple[str, str] | None:
    """Inverse of :func:`pair_group`; nothing for other groups."""
    match = re.fullmatch(pair_group(r"(\S+)", r"(\S+)"), group or "")
    return (match[1], match[2]) if match else None


def read_beir(corpus: Path, queries: Path, qrels: Path) -> Collection:
    """Read files laid out as BEIR's (https://github.com/beir-cellar/beir/wiki/Load-your-custom-dataset).

    Queries without a relevant document are left out. So is, with a warning, a judgement of a query or a document that
    the other files do not have.

    Args:
        corpus: JSON Lines with ``_id``, ``text`` and optionally ``title``.
        queries: JSON Lines with ``_id`` and ``text``.
        qrels: TSV with ``query-id``, ``corpus-id`` and ``score``.

    Raises:
        SourceError: a file cannot be read, a value is missing, an id appears twice, or nothing is judged relevant.
    """
    documents, asked = _texts(corpus, may_be_blank=True), _texts(queries)
    rows = {name: row for row, name in enumerate(documents)}
    judged = read_table(qrels, ("query-id", "corpus-id", "score"))
    relevant: dict[str, dict[int, float]] = {}
    unknown = []
    judgements = zip(judged.texts("query-id"), judged.texts("corpus-id"), judged.floats("score"), strict=True)
    for row, (query, document, gain) in enumerate(judgements):
        if query not in asked or document not in rows:
            unknown.append(f"{judged.place(row)}: query {query!r}, document {document!r}")
        elif gain > 0:
            relevant.setdefault(query, {})[rows[document]] = gain
    if unknown:
        _LOG.warning(
            "%d of %d judgements are left out, because the other files have no such query or document; the first is %s",
            len(unknown),
            len(judged),
            unknown[0],
        )
    if not relevant:
        raise SourceError(f"{qrels}: judges no document relevant")
    return Collection(
        {UNNAMED: tuple(asked[query] for query in relevant)},
        {UNNAMED: tuple(documents.values())},
        {UNNAMED: tuple(relevant.values())},
        tuple(documents),
    )


def _texts(path: Path, *, may_be_blank: bool = False) -> dict[str, str]:
    """Texts by ``_id``; if a line has a title, it precedes the text."""
    table = read_table(path, ("_id", "text"), optional=("title",))
    texts: dict[str, str] = {}
    ids, bodies, titles = (
        table.texts("_id"),
        table.texts("text", may_be_blank=may_be_blank),
        table.optional_texts("title"),
    )
    for row, (name, text, title) in enumerate(zip(ids, bodies, titles, strict=True)):
        if name in texts:
            raise SourceError(f"{table.place(row)}: the `_id` {name!r} appears twice")
        texts[name] = f"{title} {text}".strip()
    return texts


def read_squad(files: Mapping[str, Path]) -> Collection:
    """Read files in the layout of SQuAD: each question is a query that the paragraph around it answers.

    Paragraphs with the same text are one document. A question that its paragraph does not answer (``is_impossible``, of
    SQuAD 2.0) is no query. Of several files only the questions that all of them have, by ``id``, are asked, so that all
    pairs of languages are measured on the same queries.

    Args:
        files: a file by language.

    Raises:
        SourceError: a file cannot be read, lacks a value, has an id twice, or the files have no question in common.
    """
    read = {lang: _read_squad(path) for lang, path in files.items()}
    first = next(iter(read.values()))
    asked = [name for name in first.questions if all(name in file.questions for file in read.values())]
    if not asked:
        raise SourceError(f"{', '.join(map(str, files.values()))}: there is no question whose `id` all files have")
    for lang, file in read.items():
        if left := len(file.questions) - len(asked):
            _LOG.warning(
                "%s: %d of %d questions are left out, because another file lacks them",
                files[lang],
                left,
                len(file.questions),
            )
    return Collection(
        {lang: tuple(file.questions[name] for name in asked) for lang, file in read.items()},
        {lang: tuple(file.paragraphs) for lang, file in read.items()},
        {lang: tuple({file.answered_by[name]: 1.0} for name in asked) for lang, file in read.items()},
    )


@dataclass(frozen=True)
class _SquadFile:
    """Questions by id, rows of distinct paragraphs by text, and the row that answers a question by its id."""

    questions: dict[str, str] = field(default_factory=dict)
    paragraphs: dict[str, int] = field(default_factory=dict)
    answered_by: dict[str, int] = field(default_factory=dict)


def _read_squad(path: Path) -> _SquadFile:
    file = _SquadFile()
    for paragraph in _squad_paragraphs(path):
        row = file.paragraphs.setdefault(paragraph.context, len(file.paragraphs))
        for question in paragraph.qas:
            if question.is_impossible:
                continue
            if question.id in file.questions:
                raise SourceError(f"{path}: the question `id` {question.id!r} appears twice")
            file.questions[question.id], file.answered_by[question.id] = question.question, row
    return file


def _squad_paragraphs(path: Path) -> Sequence[_Paragraph]:
    try:
        articles = _Squad.model_validate_json(path.read_text(encoding="utf-8-sig")).data
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise SourceError(
            f"{path}: does not have the layout of SQuAD: {f'{place}: ' if place else ''}{first['msg']}"
        ) from error
    return [paragraph for article in articles for paragraph in article.paragraphs]


def _text(value: str) -> str:
    """A text without white space and byte order marks around it."""
    text = value.strip("\ufeff \t\r\n")
    if not text:
        raise ValueError("the text is empty")
    return text


def _identity(value: object) -> object:
    """An id as text; TQuAD and GermanQuAD, for example, write theirs as numbers."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class _Part(BaseModel):
    """A part of a SQuAD file; further keys are ignored."""

    model_config = ConfigDict(strict=True)


class _Question(_Part):
    id: Annotated[str, BeforeValidator(_identity)]
    question: Annotated[str, AfterValidator(_text)]
    is_impossible: bool = False


class _Paragraph(_Part):
    context: Annotated[str, AfterValidator(_text)]
    qas: list[_Question]


class _Article(_Part):
    paragraphs: list[_Paragraph]


class _Squad(_Part):
    data: list[_Article]
