"""Where a loaded model truncates a text, written into the files of its folder that say so.

sentence-transformers takes the limit and the side from several files, and options of one override another. Later jobs and
other libraries read ``sentence_bert_config.json`` and ``tokenizer_config.json`` alone.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from langtailor.models.folder import ModelInfo
from langtailor.models.tokenizer_file import truncation_side
from langtailor.storage.json_files import format_json, load_json_object

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_LOG = logging.getLogger("langtailor")
#: Most tokens of the text by which truncation is checked.
_CHECKED = 64


def adopt_truncation(folder: Path, model: SentenceTransformer, info: ModelInfo) -> ModelInfo:
    """Have the files state the limit and the side of truncation that the loaded model has.

    Args:
        folder: the model's folder.
        model: the model, as sentence-transformers loads it.
        info: what the folder says of itself.

    Returns:
        What it says now.

    Raises:
        ArtifactError: a file is unreadable.
    """
    limit = min(length for length in (model.max_seq_length, info.position_limit) if length is not None)
    if limit != info.max_length:
        _set(folder / "sentence_bert_config.json", "max_seq_length", limit)
    if model.tokenizer.truncation_side != truncation_side(folder):
        _set(folder / "tokenizer_config.json", "truncation_side", model.tokenizer.truncation_side)
    return ModelInfo.read(folder)


def ignores_limit(model: SentenceTransformer) -> bool:
    """Whether a loaded model reads more or less of a text than its limit says; some options are stronger than it."""
    limit, checked = model.max_seq_length, min(model.max_seq_length or _CHECKED, _CHECKED)
    text = " ".join(["a"] * 2 * checked)
    whole = model.tokenizer(text, truncation=False, verbose=False)["input_ids"]
    model.max_seq_length = checked
    read = int(model.preprocess([text])["attention_mask"].sum())
    model.max_seq_length = limit
    return read != min(checked, len(whole))


def _set(file: Path, key: str, value: int | str) -> None:
    file.write_bytes(format_json(load_json_object(file, missing_is_empty=True) | {key: value}))
    _LOG.info("%s of the run's copy gets `%s`: %s, as the library truncates text", file.name, key, value)
