"""Prompts: the text that a model puts before each passage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

from langtailor.config.teacher import is_prompt_name
from langtailor.errors import ConfigError
from langtailor.models.folder import ModelInfo

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Role = Literal["query", "document"]
#: Names of the prompt of a role, as sentence-transformers looks for them: the first that is there.
_ROLE_PROMPTS: Mapping[Role, tuple[str, ...]] = {"query": ("query",), "document": ("document", "passage", "corpus")}
#: A text after a prompt, of which no part joins the prompt's tokens.
_TEXT = "x"


def find_prompt(info: ModelInfo, prompt: str | None, key: str = "teacher.prompt") -> str:
    """The text put before each passage.

    Args:
        info: the model.
        prompt: the name of one of its prompts, or the prompt written out; ``None`` takes the model's default.
        key: where the configuration has it.

    Raises:
        ConfigError: the model has no prompt of this name.
    """
    if prompt is None:
        return info.default_prompt
    if prompt not in info.prompts and is_prompt_name(prompt):
        names = ", ".join(map(repr, sorted(info.prompts))) or "none"
        raise ConfigError(
            key,
            f"the model has no prompt named {prompt!r}; it has {names}. To give a literal prompt, include its trailing "
            f"separator, such as {prompt + ': '!r}",
        )
    return info.prompts.get(prompt, prompt)


def role_prompt(info: ModelInfo, role: Role) -> str | None:
    """The prompt that a model itself has for queries or for documents.

    Its name, or an empty text where the model has one for the other role alone; ``None`` where it tells no roles
    apart. As ``encode_query`` and ``encode_document`` of sentence-transformers, but that an empty ``document``, which
    these put into a model that has none, does not hide ``passage``.
    """
    prompts = info.prompts
    names = {each: next((name for name in named if prompts.get(name)), "") for each, named in _ROLE_PROMPTS.items()}
    return names[role] if any(names.values()) else None


def all_prompts(info: ModelInfo, written: Iterable[str]) -> dict[str, str]:
    """Prompts that may precede a text, by name: the model's own, and those written out in a configuration.

    Empty prompts are left out. One that is written out has its text as its name, unless the model has it, too.
    """
    prompts = {name: text for name, text in info.prompts.items() if text}
    return prompts | {text: text for text in written if text not in prompts.values()}


def prompt_tokens(tokenizer: Tokenizer, prompts: Mapping[str, str]) -> dict[int, str]:
    """The tokens of prompts, alone and before a text: by id, a prompt that has it."""
    tokens: dict[int, str] = {}
    for prompt in prompts.values():
        before_text = tokenizer.encode(prompt + _TEXT, add_special_tokens=False)
        ends = zip(before_text.ids, before_text.offsets, strict=True)
        ids = [i for i, (_, end) in ends if end <= len(prompt)]
        for i in (*tokenizer.encode(prompt, add_special_tokens=False).ids, *ids):
            tokens.setdefault(i, prompt)
    return tokens
