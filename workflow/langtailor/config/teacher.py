"""Settings of the teacher."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field

from langtailor.config.base import ModelPlace, Name, Section


class TeacherSettings(Section):
    """The model to tailor."""

    model: Annotated[ModelPlace, Field(min_length=1)]
    """A Hub id (`google/embeddinggemma-300m`), a folder (starts with `/`, `./`, `../` or `~`), or a model in an
    installed Python package (`package:NAME/FOLDER`)."""
    revision: str = "main"
    """Branch, tag or commit of a Hub model; resolved once to a commit and recorded."""
    prompt: str | None = None
    """Prompt before each text: the name of one of the model's own prompts (a single word), or a literal prompt
    (`"query: "`). `null` uses the model's default, an empty string no prompt."""
    language_prompts: dict[Name, str] = {}
    """Prompts of languages of the corpus that are read with another one than `prompt`, such as a language's queries beside
    its documents: `{tr-queries: "query: "}`."""
    max_length: Annotated[int, Field(ge=8)] | None = None
    """Tokens to which the teacher truncates a text; `null` uses the model's own limit."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision in which the teacher computes."""
    reads: Literal["text", "pair"] = "text"
    """What the teacher embeds: the passage itself (`text`), or its aligned text if it has one (`pair`)."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model. Leave this off unless you have read that code."""

    def for_language(self, lang: str) -> Self:
        """How text of one language is read: with its own prompt, if it has one."""
        return self.with_prompt(self.language_prompts.get(lang, self.prompt))

    def with_prompt(self, prompt: str | None) -> Self:
        """How text is read with this prompt, whatever its language."""
        return self.model_copy(update={"prompt": prompt, "language_prompts": {}})


def is_prompt_name(prompt: str) -> bool:
    """Whether a prompt is the name of one, a word alone; a prompt written out ends with a space or a colon."""
    return re.fullmatch(r"[\w.-]+", prompt) is not None


def is_local(model: str) -> bool:
    """Whether a model's name means a folder or an installed package, and not the Hub."""
    return model.startswith((".", "/", "~", "package:"))
