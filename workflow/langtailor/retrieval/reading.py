"""How a model reads queries and documents, each with its prompt, and in which shards their vectors are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from langtailor.config.queries import QuerySettings
from langtailor.config.teacher import TeacherSettings
from langtailor.config.vectors import Shard
from langtailor.corpus.reading import split_counts
from langtailor.models.folder import ModelInfo
from langtailor.models.prompts import Role, find_prompt, role_prompt

_ROLES: dict[str, Role] = {"queries": "query", "documents": "document"}


def reading_of(side: str, model: Path, teacher: TeacherSettings, settings: QuerySettings) -> TeacherSettings:
    """The teacher's settings with the prompt of one side.

    Args:
        side: ``queries`` or ``documents``.
        model: the folder of the teacher or of a student, whose own prompts are the same.
        teacher: how the teacher reads passages.
        settings: which prompts the configuration asks for.

    Raises:
        ConfigError: the model has no prompt of the name that is asked for.
    """
    role, info = _ROLES[side], ModelInfo.read(model)
    prompt = settings.query_prompt if role == "query" else settings.document_prompt
    if prompt is None:
        prompt = role_prompt(info, role)
    else:
        find_prompt(info, prompt, f"queries.{role}_prompt")
    return teacher.with_prompt(teacher.prompt if prompt is None else prompt)


def text_shards(texts: Mapping[str, Path], passages: int) -> list[Shard]:
    """The shards of queries or documents: unlike those of a corpus they follow from the files, which are there by then.

    Args:
        texts: the file by language (:func:`langtailor.retrieval.texts.write_texts`).
        passages: of a shard.
    """
    counts = {lang: sum(split_counts(path).values()) for lang, path in texts.items()}
    return [
        Shard(lang, number, start, passages, min(passages, count - start))
        for lang, count in counts.items()
        for number, start in enumerate(range(0, max(1, count), passages))
    ]
