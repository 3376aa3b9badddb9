"""The code on the page that opens a student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from langtailor.models.folder import ModelInfo
from langtailor.report.readings import ReadingGroup
from langtailor.student.prompt import TrainedPrompt


@dataclass(frozen=True)
class Usage:
    """Parts of the code.

    Attributes:
        texts: texts to encode, as Python writes them.
        prompt: argument of ``encode`` that names the prompt, with the comma before it; empty for none.
    """

    texts: Sequence[str]
    prompt: str


def usage(groups: Sequence[ReadingGroup], model: ModelInfo, prompt: str | None) -> Usage:
    """The code of a run.

    Args:
        groups: sentences of the page; the first ones stand in the code.
        model: what a model of the run says of its prompts.
        prompt: ``teacher.prompt`` of the settings.
    """
    languages = [language for group in groups for language in group.languages]
    texts = [example.text for language in languages for example in language.examples]
    return Usage([repr(text) for text in texts[:2] or ["..."]], _argument(TrainedPrompt.of(model, prompt)))


def _argument(prompt: TrainedPrompt) -> str:
    if prompt.name:
        return f", prompt_name={prompt.name!r}"
    return f", prompt={prompt.text!r}" if prompt.text else ""
