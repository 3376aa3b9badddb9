"""Adapters (LoRA and its kin): weights that are nothing without their base model."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from langtailor.config.teacher import TeacherSettings, is_local
from langtailor.errors import ConfigError
from langtailor.storage.json_files import load_json_object

if TYPE_CHECKING:
    from collections.abc import Callable

_LOG = logging.getLogger("langtailor")
ADAPTER_CONFIG = "adapter_config.json"


def merge_adapter(folder: Path, settings: TeacherSettings, find_local: Callable[[str], Path]) -> None:
    """Make a whole model of an adapter and its base, in place; a folder that holds no adapter stays as it is.

    Args:
        folder: the fetched files.
        settings: ``model`` names it in messages; ``trust_remote_code`` is used.
        find_local: finds the folder of a base model that is a folder or an installed package.

    Raises:
        ConfigError: the base is not at hand, or the package ``peft`` is not.
    """
    if not (folder / ADAPTER_CONFIG).is_file():
        return
    base = load_json_object(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
    if base is None:
        raise ConfigError("teacher.model", f"{settings.model!r} is an adapter that names no base model")
    if not (is_local(base) or Path(base).is_dir()):
        raise _unmerged(settings.model, base, "a base model on the Hub is not fetched")
    if importlib.util.find_spec("peft") is None:
        raise _unmerged(settings.model, base, "the package peft, which could merge it here, is not installed")
    _merge(folder, find_local(base), settings)
    _LOG.info("merged the adapter %s into its base %s", settings.model, base)


def _merge(folder: Path, base: Path, settings: TeacherSettings) -> None:
    from peft import PeftModel
    from transformers import AutoModel
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    whole = AutoModel.from_pretrained(
        base, dtype="auto", use_safetensors=True, local_files_only=True, trust_remote_code=settings.trust_remote_code
    )
    PeftModel.from_pretrained(whole, str(folder)).merge_and_unload().save_pretrained(folder)
    for file in folder.glob("adapter_*"):
        file.unlink()


def _unmerged(model: str, base: str, reason: str) -> ConfigError:
    return ConfigError(
        "teacher.model",
        f"{model!r} is an adapter of {base!r}; merge it first, on a machine that has both: load it with "
        "SentenceTransformer, replace its transformer by `merge_and_unload()` of that, save it with save_pretrained, and "
        f"give that folder ({reason})",
    )
