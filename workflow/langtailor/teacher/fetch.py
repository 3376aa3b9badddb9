"""Bringing the teacher into the run.

Weights are read from safetensors only. Nothing here touches the network but :func:`fetch_teacher` for a Hub model.
"""

from __future__ import annotations

import importlib.resources
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from langtailor.config.teacher import TeacherSettings, is_local
from langtailor.errors import ConfigError
from langtailor.models.folder import ModelInfo, module_kind, read_modules
from langtailor.models.model_card import front_matter
from langtailor.models.prompts import find_prompt
from langtailor.models.tokenizer_file import open_tokenizer
from langtailor.storage.artifacts import (
    Manifest,
    atomic_directory,
    canonical_json,
    file_digests,
    seal_directory,
)
from langtailor.storage.digests import sha256_bytes
from langtailor.storage.json_files import load_json_object
from langtailor.teacher.accept import accept_teacher
from langtailor.teacher.adapter import merge_adapter
from langtailor.teacher.files import has_weights, model_files, used_files
from langtailor.teacher.layout import unify_layout
from langtailor.teacher.prunable import check_table, check_tokenizer
from langtailor.teacher.refusal import errors_of

_LOG = logging.getLogger("langtailor")
_KEY = "teacher.model"


def fetch_teacher(
    settings: TeacherSettings, out: Path, prompts: Iterable[tuple[str, str]] = (), *, pruned: bool = True
) -> None:
    """Bring the teacher into the run as a directory artifact of kind ``teacher``.

    A local folder and a package's folder are copied, never linked: a later edit of the original must not change a run.

    Args:
        settings: ``model``, ``revision`` and ``trust_remote_code`` are used.
        out: where the folder is created.
        prompts: what later jobs will put before texts, each after its key in the configuration. What was downloaded is kept
            if the model does not have one of them.
        pruned: whether students are made of it, with a part of its vocabulary. A teacher that only gives vectors may
            have any tokenizer.

    Raises:
        ConfigError: the model cannot be found or lacks a prompt, its folder is none of sentence-transformers with
            safetensors weights, or the rows of its embedding table cannot be told from others.
        HubError: the Hub refuses or cannot be reached.
        UnsupportedTokenizerError: its tokenizer cannot be pruned.
    """
    _LOG.info("fetching %s", settings.model)
    downloads = out.parent / ".download"
    with atomic_directory(out) as folder:
        commit = _fetch_into(folder, settings, downloads)
        with errors_of(folder, settings.model):
            info = _accept(folder, settings, pruned=pruned)
        for key, prompt in prompts:
            find_prompt(info, prompt, key)
        facts = {
            "modules": list(info.modules),
            "dimension": info.dimension,
            "max_length": info.max_length,
            "vocabulary_size": info.vocabulary_size,
            "parameters": info.parameters,
            "pooling": info.pooling,
            "prompts": dict(info.prompts),
            "default_prompt": info.default_prompt,
            "tokenizer": load_json_object(folder / "tokenizer_config.json", missing_is_empty=True).get(
                "tokenizer_class"
            ),
            "license": licence if isinstance(licence := front_matter(folder).get("license"), str) else None,
        }
        made_by = {"model": settings.model, "revision": settings.revision}
        files = file_digests(folder)
        inputs = {"commit": commit, "digest": sha256_bytes(canonical_json(files).encode())}
        seal_directory(folder, Manifest("teacher", made_by, inputs, facts, files))
    shutil.rmtree(downloads, ignore_errors=True)
    _LOG.info(
        "teacher %s: %s parameters, %s tokens, %d dimensions, %s pooling",
        settings.model,
        f"{info.parameters:,}",
        f"{info.vocabulary_size:,}",
        info.dimension,
        info.pooling,
    )


@contextmanager
def errors_about(section: str) -> Iterator[None]:
    """Have errors about the teacher name the section that has another model's ``model`` and ``trust_remote_code``."""
    try:
        yield
    except ConfigError as error:
        raise (error.about(section) if error.key.startswith("teacher.") else error) from None


def local_files(settings: TeacherSettings) -> list[Path]:
    """Files of a teacher in the user's own folder, for Snakemake to watch; empty for any other teacher.

    A folder that is not there gives none: :func:`fetch_teacher` says what is wrong with it.

    Raises:
        ConfigError: the folder holds no model that can be used.
    """
    source = Path(settings.model).expanduser()
    _refuse_bare_folder(settings.model)
    if settings.model.startswith("package:") or not is_local(settings.model) or not source.is_dir():
        return []
    return [source / name for name in _local_names(source, settings.model)]


def _fetch_into(folder: Path, settings: TeacherSettings, downloads: Path) -> str | None:
    """Put the model's files into ``folder``; returns the commit of a Hub model."""
    _refuse_bare_folder(settings.model)
    if not is_local(settings.model):
        return _download(folder, settings, downloads)
    source = local_folder(settings.model)
    _copy(_local_names(source, settings.model), source, folder)
    return None


def _refuse_bare_folder(model: str) -> None:
    """Refuse a folder that is named as if it were a model of the Hub."""
    if not is_local(model) and Path(model).is_dir():
        raise ConfigError(_KEY, f"{model} is a folder here: write ./{model} (a name without ./ is a Hub id)")


def local_folder(model: str) -> Path:
    """The folder of a model that is a folder or in an installed package.

    Raises:
        ConfigError: there is no such folder or package.
    """
    if model.startswith("package:"):
        return _package_folder(model.removeprefix("package:"))
    folder = Path(model).expanduser()
    if not folder.is_dir():
        raise ConfigError(_KEY, f"{model!r} is not a folder; give a folder, a Hub id or package:NAME/FOLDER")
    return folder


def _download(folder: Path, settings: TeacherSettings, downloads: Path) -> str:
    from langtailor.sources.hub import download, find_snapshot

    snapshot = find_snapshot(settings.model, "model", settings.revision)
    commit = snapshot.repository.revision
    place, present = downloads / commit, model_files(snapshot.files, settings.model)
    # The small files say which of the weights are used.
    download(snapshot, [name for name in present if not has_weights(name)], place)
    names = used_files(present, place, settings.model)
    download(snapshot, [name for name in names if has_weights(name)], place)
    _copy(names, place, folder)
    return commit


def _package_folder(name: str) -> Path:
    package, _, resource = name.partition("/")
    try:
        root = importlib.resources.files(package)
    except (ModuleNotFoundError, ValueError) as error:
        distribution = package.replace("_", "-")
        raise ConfigError(_KEY, f"package {package!r} is not installed; run `pip install {distribution}`") from error
    folder = Path(str(root)) / resource
    if not folder.is_dir():
        raise ConfigError(_KEY, f"package {package!r} has no folder {resource!r}")
    return folder


def _local_names(source: Path, model: str) -> list[str]:
    """The files of a local model that are taken."""
    below = (path.relative_to(source).as_posix() for path in sorted(source.rglob("*")) if path.is_file())
    return used_files(model_files(below, model), source, model)


def _copy(names: Iterable[str], source: Path, folder: Path) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, folder / name)


def _accept(folder: Path, settings: TeacherSettings, *, pruned: bool) -> ModelInfo:
    """Bring the fetched files into the form in which later jobs take a model, or refuse them."""
    merge_adapter(folder, settings, local_folder)
    _LOG.info("checking modules, tokenizer and weights")
    _check_modules(folder, settings)
    open_tokenizer(folder)
    unify_layout(folder)
    if pruned:
        check_tokenizer(folder)
    info = accept_teacher(folder, settings.model, trust_remote_code=settings.trust_remote_code, pruned=pruned)
    if pruned:
        check_table(folder)
    return info


def _check_modules(folder: Path, settings: TeacherSettings) -> None:
    modules = read_modules(folder)
    kinds = [module_kind(module) for module in modules]
    if kinds[:2] != ["Transformer", "Pooling"]:
        modules_there = f"the modules {', '.join(kinds)}" if kinds else "no modules"
        raise ConfigError(_KEY, f"{settings.model!r} has {modules_there}; a Transformer followed by Pooling is needed")
    if modules[0]["path"]:
        raise ConfigError(
            _KEY,
            f"{settings.model!r} keeps its Transformer in {modules[0]['path']!r}, as old versions of "
            "sentence-transformers did. Load it with SentenceTransformer, save it with save_pretrained, and give "
            "that folder",
        )
    if not settings.trust_remote_code and (code := _custom_code(folder, modules)):
        raise ConfigError(
            "teacher.trust_remote_code",
            f"{settings.model!r} comes with Python code of its own ({code}), which runs only if you set this to "
            "true. Read that code first",
        )


def _custom_code(folder: Path, modules: Sequence[Mapping[str, Any]]) -> str | None:
    """The first class that only the model's own code defines, if any."""
    for module in modules:
        if not str(module["type"]).startswith("sentence_transformers."):
            return str(module["type"])
    config = load_json_object(folder / "config.json")
    if "auto_map" not in config:
        return None
    from transformers import CONFIG_MAPPING

    # Many models still carry the code with which they came, though transformers knows them by now.
    return None if config.get("model_type") in CONFIG_MAPPING else f"model type {config.get('model_type')}"
