"""The run's copy of a model, brought into the layout in which today's libraries write it.

Later stages write models with these libraries, into folders and files whose names they choose.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from langtailor.models.folder import module_kind, read_modules
from langtailor.storage.json_files import format_json, load_json_object
from langtailor.surgery.spec import model_type

_LOG = logging.getLogger("langtailor")
#: Names of the configuration of a Transformer, in the order in which sentence-transformers looks for them.
_TRANSFORMER_CONFIGS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
#: Parts of ``tokenizer.json`` that may be left out.
_TOKENIZER_PARTS: dict[str, Any] = {
    "added_tokens": [],
    **dict.fromkeys(("normalizer", "pre_tokenizer", "post_processor", "decoder")),
}


def unify_layout(folder: Path) -> None:
    """Bring a fetched model into the layout of today's libraries, in place; one that has it keeps its bytes.

    Args:
        folder: a sentence-transformers folder whose Transformer is at its root.

    Raises:
        ArtifactError: a file is unreadable.
    """
    _name_module_folders(folder)
    _unify_transformer_config(folder)
    _complete_tokenizer(folder)


def _name_module_folders(folder: Path) -> None:
    """Name the folder of each module by its place and class, ``2_Dense``, as ``SentenceTransformer.save_pretrained`` does."""
    modules = read_modules(folder)
    paths = [str(module["path"]) for module in modules]
    names = [path and f"{place}_{module_kind(modules[place])}" for place, path in enumerate(paths)]
    if names == paths:
        return
    with tempfile.TemporaryDirectory(dir=folder) as aside:
        # Copied aside first: a new name may be the old name of another module, or of a folder that is none.
        for path, name in zip(paths, names, strict=True):
            if path and (folder / path).is_dir():
                shutil.copytree(folder / path, Path(aside) / name)
        for path in {*paths, *names} - {""}:
            shutil.rmtree(folder / path, ignore_errors=True)
        for module_folder in sorted(Path(aside).iterdir()):
            module_folder.rename(folder / module_folder.name)
    renamed = [{**module, "path": name} for module, name in zip(modules, names, strict=True)]
    (folder / "modules.json").write_bytes(format_json(renamed))
    _LOG.info("the modules' folders are named %s in the run's copy", ", ".join(name for name in names if name))


def _unify_transformer_config(folder: Path) -> None:
    """Have ``sentence_bert_config.json`` say what the library reads under its former names, and the limit by one key."""
    contents = {name: load_json_object(folder / name, missing_is_empty=True) for name in _TRANSFORMER_CONFIGS}
    used = next((content for content in contents.values() if content), {})
    unified = _with_one_limit(used)
    if unified != contents[_TRANSFORMER_CONFIGS[0]]:
        (folder / _TRANSFORMER_CONFIGS[0]).write_bytes(format_json(unified))
    for name in _TRANSFORMER_CONFIGS[1:]:
        (folder / name).unlink(missing_ok=True)


def _with_one_limit(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a Transformer with ``max_seq_length`` for the tokenizer's option that overrides it."""
    unified = dict(config)
    for key in ("processor_kwargs", "tokenizer_args"):
        options = dict(config[key]) if isinstance(config.get(key), dict) else {}
        if (limit := options.pop("model_max_length", None)) is not None:
            unified |= {key: options, "max_seq_length": limit}
    return unified


def _complete_tokenizer(folder: Path) -> None:
    """Write into ``tokenizer.json`` what old files leave out: the type of the model, and parts that there are none of."""
    spec = load_json_object(folder / "tokenizer.json")
    kind = model_type(spec)
    complete = _TOKENIZER_PARTS | spec | ({"model": {"type": kind, **spec["model"]}} if kind else {})
    if complete != spec:
        (folder / "tokenizer.json").write_bytes(format_json(complete))
