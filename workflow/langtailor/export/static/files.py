"""What a static export's folder has besides its table, as sentence-transformers and model2vec both read it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from langtailor.models.tokenizer_file import open_tokenizer
from langtailor.storage.json_files import format_json


def write_static_files(student: Path, folder: Path, dimension: int | None) -> None:
    """Fill a folder with all but the table.

    Args:
        student: the student's folder, from which come card and tokenizer.
        folder: the export's, which must not exist.
        dimension: length of a vector.
    """
    folder.mkdir(parents=True)
    shutil.copyfile(student / "README.md", folder / "README.md")
    open_tokenizer(student).save(str(folder / "tokenizer.json"))
    kinds = {".": "StaticEmbedding", "1_Normalize": "Normalize"}
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(kinds.items())
    ]
    (folder / "modules.json").write_bytes(format_json(modules))
    library: dict[str, Any] = {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"}
    (folder / "config_sentence_transformers.json").write_bytes(format_json(library))
    config = {"model_type": "model2vec", "architectures": ["StaticModel"], "hidden_dim": dimension, "normalize": True}
    (folder / "config.json").write_bytes(format_json({**config, "max_length": None}))
