"""Loading a sentence-transformers folder: from safetensors, without the network."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langtailor.config.teacher import TeacherSettings
from langtailor.errors import ConfigError
from langtailor.models.folder import ModelInfo

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_LOG = logging.getLogger("langtailor")


def load_teacher(path: Path, settings: TeacherSettings, device: str) -> SentenceTransformer:
    """Load a teacher, or a clone or student that is read like it.

    Args:
        path: the folder.
        settings: ``dtype``, ``max_length`` and ``trust_remote_code`` are used.
        device: ``cpu`` or ``cuda``.

    Raises:
        ConfigError: ``max_length`` exceeds what the model's positions allow.
    """
    info = ModelInfo.read(path)
    limit, asked = info.position_limit, settings.max_length
    if asked is not None and limit is not None and asked > limit:
        raise ConfigError("teacher.max_length", f"{asked} exceeds the model's {limit} positions; give at most {limit}")
    _warn_of_emulation(settings.dtype, device)
    model = load_sentence_transformer(path, device, settings.dtype, trust_remote_code=settings.trust_remote_code)
    model.max_seq_length = info.max_length if asked is None else asked
    return model


def load_sentence_transformer(
    path: Path, device: str, dtype: str = "float32", *, trust_remote_code: bool = False, **options: Any
) -> SentenceTransformer:
    """Load a sentence-transformers folder, from safetensors, without the network, in evaluation mode.

    Args:
        path: the folder.
        device: ``cpu`` or ``cuda``.
        dtype: precision of the weights in memory, ``float32`` or ``bfloat16``, whatever they are stored in; ``auto`` for
            that in which they are stored.
        trust_remote_code: run Python code that comes with the model.
        options: further options of transformers' ``from_pretrained``.
    """
    _LOG.info("loading the model of %s", path)
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model = SentenceTransformer(
        str(path),
        device=device,
        local_files_only=True,
        trust_remote_code=trust_remote_code,
        model_kwargs={"dtype": getattr(torch, dtype, dtype), "use_safetensors": True, **options},
    )
    # The library has given the Dense modules, which are stored apart, the transformer's precision. A cast of the whole
    # model would also hit buffers that must keep theirs (rotary frequencies).
    return model.eval()


def _warn_of_emulation(dtype: str, device: str) -> None:
    """Log it if a device would only emulate the precision of the settings."""
    import torch

    from langtailor.models.precision import computes_bfloat16

    if dtype == "bfloat16" and not computes_bfloat16(torch.device(device)):
        _LOG.warning("teacher.dtype is bfloat16, for which this %s has no arithmetic: float32 is faster here", device)
