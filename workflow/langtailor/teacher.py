"""The teacher: bringing it into the run, knowing it without loading it, and loading it.

A teacher is a sentence-transformers folder (https://sbert.net/docs/sentence_transformer/usage/custom_models.html):
``modules.json`` names a Transformer, a Pooling and possibly Dense and Normalize modules. Clone and student keep
its layout, so everything here serves them too. Weights are read from safetensors only; nothing here touches the network
but :func:`fetch_teacher` for a Hub model.
"""

from __future__ import annotations

import importlib.resources
import json
import logging
import math
import shutil
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from langtailor.artifacts import (
    MANIFEST_NAME,
    Manifest,
    atomic_directory,
    canonical_json,
    seal_directory,
    sha256_bytes,
    sha256_file,
)
from langtailor.config import TeacherSettings, is_local
from langtailor.errors import ArtifactError, ConfigError, SourceError, UnsupportedTokenizerError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_LOG = logging.getLogger("langtailor")
_KEY = "teacher.model"
#: Weights in formats that are never read: pickle, or other runtimes.
_NOT_WEIGHTS = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.onnx", "*.gguf", "*.ot", "*.tflite")
_NOT_FOLDERS = frozenset({"onnx", "openvino", "coreml", "__pycache__"})
_PICKLED = "pytorch_model*.bin"
#: Types of tokenizers with a family in :mod:`langtailor.surgery`.
_TOKENIZER_MODELS = ("BPE", "Unigram", "WordPiece")
#: Model types that count positions from ``pad_token_id + 1``.
_POSITIONS_AFTER_PADDING = frozenset(
    {"roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod", "camembert", "mpnet", "data2vec-text"}
)


@dataclass(frozen=True)
class TeacherInfo:
    """What a sentence-transformers folder says of itself.

    Attributes:
        modules: class names of its modules, in order.
        dimension: length of its vectors.
        hidden_size: width of the transformer.
        max_length: tokens at which it cuts a text.
        position_limit: most tokens that its position embeddings allow; ``None`` when they set no limit.
        vocabulary_size: rows of its embedding table.
        parameters: numbers in all its weights.
        weight_bytes: bytes of all its weight files.
        pooling: pooling mode.
        prompts: prompts by name.
        default_prompt: the prompt used when none is asked for; empty for none.
    """

    modules: tuple[str, ...]
    dimension: int
    hidden_size: int
    max_length: int
    position_limit: int | None
    vocabulary_size: int
    parameters: int
    weight_bytes: int
    pooling: str
    prompts: Mapping[str, str]
    default_prompt: str

    @classmethod
    def read(cls, folder: Path) -> TeacherInfo:
        """Read a folder's configuration and the headers of its weights; the weights themselves stay unread.

        Raises:
            ArtifactError: a file that a sentence-transformers folder needs is missing or unreadable.
        """
        modules = _json(folder / "modules.json")
        transformer = folder / _path_of(modules, "Transformer", folder)
        pooling = _json(folder / _path_of(modules, "Pooling", folder) / "config.json")
        config = _json(transformer / "config.json")
        text = config.get("text_config", config)
        prompts = _json_or_empty(folder / "config_sentence_transformers.json")
        shapes = [
            shape for file in weight_files(folder) for shape in tensor_shapes(file, parameters_only=True).values()
        ]
        limit = _position_limit(text)
        return cls(
            modules=tuple(map(_kind, modules)),
            dimension=_dimension(folder, modules, pooling),
            hidden_size=int(text["hidden_size"]),
            max_length=_max_length(transformer, limit),
            position_limit=limit,
            vocabulary_size=int(text["vocab_size"]),
            parameters=sum(math.prod(shape) for shape in shapes),
            weight_bytes=sum(file.stat().st_size for file in weight_files(folder)),
            pooling=_pooling_mode(pooling),
            prompts=dict(prompts.get("prompts") or {}),
            default_prompt=_default_prompt(prompts),
        )


def fetch_teacher(settings: TeacherSettings, out: Path) -> None:
    """Bring the teacher into the run as a directory artifact of kind ``teacher``.

    A local folder and a package's folder are copied, never linked: a later edit of the original must not change a run.

    Args:
        settings: ``model``, ``revision`` and ``trust_remote_code`` are used.
        out: where the folder shall appear.

    Raises:
        ConfigError: the model cannot be found, or its folder is none of sentence-transformers with safetensors weights.
        HubError: the Hub refuses or cannot be reached.
        UnsupportedTokenizerError: its tokenizer is of a type that cannot be cut.
    """
    downloads = out.parent / ".download"
    with atomic_directory(out) as folder:
        commit = _fetch_into(folder, settings, downloads)
        _check_modules(folder, settings)
        _check_tokenizer(folder, settings)
        info = TeacherInfo.read(folder)
        facts = {
            "modules": list(info.modules),
            "dimension": info.dimension,
            "max_length": info.max_length,
            "vocabulary_size": info.vocabulary_size,
            "parameters": info.parameters,
            "pooling": info.pooling,
            "prompts": dict(info.prompts),
            "default_prompt": info.default_prompt,
            "tokenizer": _json_or_empty(folder / "tokenizer_config.json").get("tokenizer_class"),
            "license": _licence(folder / "README.md"),
        }
        made_by = {"model": settings.model, "revision": settings.revision}
        inputs = {"commit": commit, "digest": _digest(folder)}
        seal_directory(folder, Manifest("teacher", made_by, inputs, facts))
    shutil.rmtree(downloads, ignore_errors=True)
    _LOG.info(
        "teacher %s: %s parameters, %s tokens, %d dimensions, %s pooling",
        settings.model,
        f"{info.parameters:,}",
        f"{info.vocabulary_size:,}",
        info.dimension,
        info.pooling,
    )


def load_teacher(path: Path, settings: TeacherSettings, device: str) -> SentenceTransformer:
    """Load a teacher, or a clone or student that is read like it.

    Args:
        path: the folder.
        settings: ``dtype``, ``max_length`` and ``trust_remote_code`` are used.
        device: ``cpu`` or ``cuda``.

    Raises:
        ConfigError: ``max_length`` exceeds what the model's positions allow.
    """
    info = TeacherInfo.read(path)
    limit, asked = info.position_limit, settings.max_length
    if asked is not None and limit is not None and asked > limit:
        raise ConfigError("teacher.max_length", f"{asked} exceeds the model's {limit} positions; give at most {limit}")
    model = load_sentence_transformer(path, device, settings.dtype, trust_remote_code=settings.trust_remote_code)
    model.max_seq_length = info.max_length if asked is None else asked
    return model


def load_sentence_transformer(
    path: Path, device: str, dtype: str = "float32", *, trust_remote_code: bool = False
) -> SentenceTransformer:
    """Load a sentence-transformers folder, from safetensors, without the network, in evaluation mode.

    Args:
        path: the folder.
        device: ``cpu`` or ``cuda``.
        dtype: precision of the weights in memory, ``float32`` or ``bfloat16``, whatever they are stored in.
        trust_remote_code: run Python code that comes with the model.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model = SentenceTransformer(
        str(path),
        device=device,
        local_files_only=True,
        trust_remote_code=trust_remote_code,
        model_kwargs={"dtype": getattr(torch, dtype), "use_safetensors": True},
    )
    # The library has given the Dense modules, which are stored apart, the transformer's precision. A cast of the whole
    # model would also hit buffers that must keep theirs (rotary frequencies).
    return model.eval()


def resolve_prompt(info: TeacherInfo, settings: TeacherSettings) -> str:
    """The text put before each passage: a prompt's name is looked up, anything else is the prompt itself."""
    if settings.prompt is None:
        return info.default_prompt
    return info.prompts.get(settings.prompt, settings.prompt)


def weight_files(folder: Path) -> list[Path]:
    """Every safetensors file below a folder, sorted."""
    return sorted(folder.rglob("*.safetensors"))


def tensor_shapes(file: Path, *, parameters_only: bool = False) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor in a safetensors file, from its header alone (https://huggingface.co/docs/safetensors).

    Args:
        file: the file.
        parameters_only: leave out integers, which are buffers (BERT's position numbers) and not parameters.

    Raises:
        ArtifactError: the file is not a whole safetensors file.
    """
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length))
    except (OSError, ValueError, struct.error, MemoryError, OverflowError) as error:
        raise ArtifactError(file, f"is not a safetensors file ({error})") from error
    header.pop("__metadata__", None)
    wanted = {name: entry for name, entry in header.items() if "F" in entry["dtype"] or not parameters_only}
    return {name: tuple(entry["shape"]) for name, entry in wanted.items()}


def local_files(settings: TeacherSettings) -> list[Path]:
    """Files of a teacher in the user's own folder, for Snakemake to watch; empty for any other teacher.

    A folder that is not there gives none: :func:`fetch_teacher` says what is wrong with it.

    Raises:
        ConfigError: the folder holds no model that can be used.
    """
    source = Path(settings.model).expanduser()
    if settings.model.startswith("package:") or not is_local(settings.model) or not source.is_dir():
        return []
    return [source / name for name in _needed(_names_below(source), settings.model)]


def _fetch_into(folder: Path, settings: TeacherSettings, downloads: Path) -> str | None:
    """Put the model's files into ``folder``; returns the commit of a Hub model."""
    if settings.model.startswith("package:"):
        _copy_files(_package_folder(settings.model.removeprefix("package:")), folder, settings.model)
        return None
    if is_local(settings.model):
        source = Path(settings.model).expanduser()
        if not source.is_dir():
            raise ConfigError(
                _KEY, f"{settings.model!r} is not a folder; give a folder, a Hub id or package:NAME/FOLDER"
            )
        _copy_files(source, folder, settings.model)
        return None
    return _download(folder, settings, downloads)


def _download(folder: Path, settings: TeacherSettings, downloads: Path) -> str:
    from langtailor.hub import download, find_snapshot

    snapshot = find_snapshot(settings.model, "model", settings.revision)
    commit = snapshot.repository.revision
    names = _needed(snapshot.files, settings.model)
    download(snapshot, names, downloads / commit)
    _copy(names, downloads / commit, folder)
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


def _copy_files(source: Path, folder: Path, model: str) -> None:
    _copy(_needed(_names_below(source), model), source, folder)


def _names_below(source: Path) -> Iterator[str]:
    return (path.relative_to(source).as_posix() for path in sorted(source.rglob("*")) if path.is_file())


def _copy(names: Iterable[str], source: Path, folder: Path) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, folder / name)


def _needed(present: Iterable[str], model: str) -> list[str]:
    """Which of a model's files are taken, sorted; refuses a model that lacks what is needed."""
    shown = sorted(name for name in present if not _is_aside(PurePosixPath(name)))
    taken = [name for name in shown if not any(fnmatchcase(name, pattern) for pattern in _NOT_WEIGHTS)]
    if "modules.json" not in taken:
        raise ConfigError(
            _KEY,
            f"{model!r} has no modules.json: it is not a sentence-transformers model. Load it with "
            "SentenceTransformer, which adds mean pooling, save it with save_pretrained, and give that folder",
        )
    if "tokenizer.json" not in taken:
        raise ConfigError(_KEY, f"{model!r} has no tokenizer.json beside modules.json: a fast tokenizer is needed")
    safe = {PurePosixPath(name).parent for name in taken if name.endswith(".safetensors")}
    pickled = [name for name in shown if fnmatchcase(PurePosixPath(name).name, _PICKLED)]
    if unsafe := [name for name in pickled if PurePosixPath(name).parent not in safe]:
        raise ConfigError(
            _KEY,
            f"{model!r} has {unsafe[0]} but no safetensors weights beside it. Pickled weights can run code and are "
            "never loaded: take a revision with safetensors, or convert the model where you trust it",
        )
    if not safe:
        raise ConfigError(_KEY, f"{model!r} has no safetensors weights")
    return taken


def _is_aside(name: PurePosixPath) -> bool:
    """Whether a file belongs to something else than the model as we use it."""
    return name.name == MANIFEST_NAME or any(part.startswith(".") or part in _NOT_FOLDERS for part in name.parts)


def _check_tokenizer(folder: Path, settings: TeacherSettings) -> None:
    """Refuse at once what no family of :mod:`langtailor.surgery` would take once the corpus is there."""
    found = _json(folder / "tokenizer.json").get("model", {}).get("type")
    if found is not None and found not in _TOKENIZER_MODELS:  # old files do not name the type
        raise UnsupportedTokenizerError(
            f"the tokenizer of {settings.model!r} has a model of type {found!r}; {', '.join(_TOKENIZER_MODELS)} can be "
            "cut and grafted. Choose another teacher"
        )


def _check_modules(folder: Path, settings: TeacherSettings) -> None:
    modules = _json(folder / "modules.json")
    kinds = [_kind(module) for module in modules]
    if kinds[:2] != ["Transformer", "Pooling"]:
        raise ConfigError(
            _KEY, f"{settings.model!r} has the modules {', '.join(kinds)}; a Transformer followed by Pooling is needed"
        )
    if modules[0]["path"]:
        raise ConfigError(
            _KEY,
            f"{settings.model!r} keeps its Transformer in {modules[0]['path']!r}, as old versions of "
            "sentence-transformers did. Load it with SentenceTransformer, save it with save_pretrained, and give "
            "that folder",
        )
    if not settings.trust_remote_code and (code := _own_code(folder, modules)):
        raise ConfigError(
            "teacher.trust_remote_code",
            f"{settings.model!r} comes with Python code of its own ({code}), which is run only if you set this to "
            "true. Read that code first",
        )


def _own_code(folder: Path, modules: Sequence[Mapping[str, Any]]) -> str | None:
    """The first class that only the model's own code defines, if any."""
    for module in modules:
        if not str(module["type"]).startswith("sentence_transformers."):
            return str(module["type"])
    config = _json(folder / "config.json")
    if "auto_map" not in config:
        return None
    from transformers import CONFIG_MAPPING

    # Many models still carry the code with which they came, though transformers knows them by now.
    return None if config.get("model_type") in CONFIG_MAPPING else f"model type {config.get('model_type')}"


def _digest(folder: Path) -> str:
    """SHA-256 over names and contents of all files."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return sha256_bytes(
        canonical_json({path.relative_to(folder).as_posix(): sha256_file(path) for path in files}).encode()
    )


def _kind(module: Mapping[str, Any]) -> str:
    return str(module["type"]).rpartition(".")[2]


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(path, f"cannot be read as JSON ({error})") from error


def _json_or_empty(path: Path) -> dict[str, Any]:
    return dict(_json(path)) if path.is_file() else {}


def _path_of(modules: list[dict[str, Any]], kind: str, folder: Path) -> str:
    for module in modules:
        if _kind(module) == kind:
            return str(module["path"])
    raise ArtifactError(folder, f"has no {kind} module; its modules are {', '.join(map(_kind, modules))}")


def _dimension(folder: Path, modules: list[dict[str, Any]], pooling: Mapping[str, Any]) -> int:
    dimension = int(pooling.get("embedding_dimension") or pooling["word_embedding_dimension"])
    for module in modules:
        if _kind(module) == "Dense":
            dimension = int(_json(folder / module["path"] / "config.json")["out_features"])
    return dimension


def _position_limit(text: Mapping[str, Any]) -> int | None:
    limit = text.get("max_position_embeddings")
    if limit is None:
        return None
    offset = int(text.get("pad_token_id", 1)) + 1 if text.get("model_type") in _POSITIONS_AFTER_PADDING else 0
    return int(limit) - offset


def _max_length(transformer: Path, limit: int | None) -> int:
    named = _json_or_empty(transformer / "sentence_bert_config.json").get("max_seq_length")
    stated = named or _json_or_empty(transformer / "tokenizer_config.json").get("model_max_length")
    # A tokenizer without a limit says so with a huge number.
    known = [int(length) for length in (stated, limit) if length is not None and length < 10**9]
    if not known:
        raise SourceError(f"{transformer}: neither the model nor its tokenizer says how long a text may be")
    return min(known)


def _pooling_mode(pooling: Mapping[str, Any]) -> str:
    if mode := pooling.get("pooling_mode"):
        return str(mode)
    modes = [key.removeprefix("pooling_mode_") for key, on in pooling.items() if key.startswith("pooling_mode_") and on]
    return "+".join(modes)


def _default_prompt(config: Mapping[str, Any]) -> str:
    name = config.get("default_prompt_name")
    return str((config.get("prompts") or {}).get(name, "")) if name else ""


def _licence(readme: Path) -> str | None:
    """The licence in a model card's YAML header, if it states one."""
    import yaml

    if not readme.is_file():
        return None
    parts = readme.read_text(encoding="utf-8", errors="replace").split("---\n", 2)
    if len(parts) < 3 or parts[0].strip():
        return None
    try:
        header = yaml.safe_load(parts[1])
    except yaml.YAMLError:
        return None
    licence = header.get("license") if isinstance(header, dict) else None
    return licence if isinstance(licence, str) else None
