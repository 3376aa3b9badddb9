"""The prompt with which a student was trained, as its folder and its card have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langtailor.models.folder import ModelInfo
from langtailor.models.prompts import find_prompt
from langtailor.storage.json_files import format_json, load_json_object

_FILE = "config_sentence_transformers.json"


def name_role_prompts(folder: Path, queries: Mapping[str, Any]) -> None:
    """Let ``encode_query`` and ``encode_document`` put the prompts before texts with which a student was trained for retrieval.

    These get the names ``query`` and ``document``, in place of what the model has under them.

    Args:
        folder: the student's.
        queries: the settings ``queries``.
    """
    file = folder / _FILE
    config = load_json_object(file, missing_is_empty=True)
    own = {name: text for name, text in config.get("prompts", {}).items() if text}
    written = {role: queries[f"{role}_prompt"] for role in ("query", "document")}
    named = {role: own.get(prompt, prompt) for role, prompt in written.items() if prompt is not None}
    if named:
        file.write_bytes(format_json(config | {"prompts": {**own, **named}}))


@dataclass(frozen=True)
class TrainedPrompt:
    """The prompt before the texts of training.

    Attributes:
        text: as it stood before each text; empty for none.
        name: its name among the model's prompts; ``None`` where the configuration wrote it out.
    """

    text: str
    name: str | None

    @classmethod
    def of(cls, info: ModelInfo, prompt: str | None) -> TrainedPrompt:
        """The prompt that a configuration's ``teacher.prompt`` means for a model.

        Raises:
            ConfigError: the model has no prompt of this name.
        """
        text = find_prompt(info, prompt)
        names = [prompt] if prompt in info.prompts else [name for name, own in info.prompts.items() if own == text]
        return cls(text, names[0] if text and names else None)

    def make_default(self, folder: Path) -> None:
        """Let ``encode`` put the prompt before each text by itself, where it has a name, and no other where it has none."""
        file = folder / _FILE
        config = load_json_object(file, missing_is_empty=True)
        if config.get("default_prompt_name") == self.name:
            return
        file.write_bytes(format_json(config | {"default_prompt_name": self.name}))
