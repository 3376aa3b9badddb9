"""What a sentence-transformers folder says of itself, without loading it.

Such a folder (https://sbert.net/docs/sentence_transformer/usage/custom_models.html) has a ``modules.json`` that names a
Transformer, a Pooling and possibly Dense and Normalize modules. Teacher, clone and student are folders of this kind.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from langtailor.errors import ArtifactError, SourceError
from langtailor.models.safetensors_file import tensor_shapes
from langtailor.models.similarity import SIMILARITIES
from langtailor.storage.json_files import load_json, load_json_object

#: What the library calls the weights of a module, and the list of its files where they are several.
WEIGHTS, WEIGHTS_INDEX = "model.safetensors", "model.safetensors.index.json"
_SAFETENSORS = ".safetensors"
_ROOT = PurePosixPath()
#: Model types that count positions from ``pad_token_id + 1``.
_POSITIONS_AFTER_PADDING = frozenset(
    {"roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod", "camembert", "mpnet", "data2vec-text"}
)


@dataclass(frozen=True)
class ModelInfo:
    """What a sentence-transformers folder says of itself.

    Attributes:
        modules: class names of its modules, in order.
        dimension: length of its vectors.
        hidden_size: width of the transformer, as the Pooling module has it: configurations name it in many ways.
        max_length: tokens at which it cuts a text.
        position_limit: most tokens that its position embeddings allow; ``None`` when they set no limit.
        vocabulary_size: rows of its embedding table.
        parameters: numbers in all its weights.
        weight_bytes: bytes of all its weight files.
        pooling: pooling mode; of several, whose vectors are joined, all with ``+`` between them.
        prompts: prompts by name.
        default_prompt: the prompt used when none is asked for; empty for none.
        similarity: how its vectors are compared, one of :data:`langtailor.models.similarity.SIMILARITIES`.
        pools_prompt: whether the tokens of a prompt count in the pooling.
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
    similarity: str = "cosine"
    pools_prompt: bool = True

    @classmethod
    def read(cls, folder: Path) -> ModelInfo:
        """Read a folder's configuration and the headers of its weights; the weights themselves stay unread.

        Raises:
            ArtifactError: a file that a sentence-transformers folder needs is missing or unreadable.
            SourceError: it compares vectors in an unknown way, or no length of a text is stated.
        """
        modules = read_modules(folder)
        transformer = folder / _path_of(modules, "Transformer", folder)
        pooling_file = folder / _path_of(modules, "Pooling", folder) / "config.json"
        pooling = load_json_object(pooling_file)
        config = load_json_object(transformer / "config.json")
        text = config.get("text_config") or config
        if not isinstance(text, dict):
            raise ArtifactError(
                transformer / "config.json", f"has {text!r} as `text_config`, where an object is expected"
            )
        prompts = load_json_object(folder / "config_sentence_transformers.json", missing_is_empty=True)
        shapes = [
            shape for file in weight_files(folder) for shape in tensor_shapes(file, parameters_only=True).values()
        ]
        limit = _position_limit(text, transformer / "config.json")
        return cls(
            modules=tuple(map(module_kind, modules)),
            dimension=_dimension(folder, modules, pooling, pooling_file),
            hidden_size=_pooled_width(pooling, pooling_file),
            max_length=_max_length(transformer, limit),
            position_limit=limit,
            vocabulary_size=_whole_number(text, "vocab_size", transformer / "config.json"),
            parameters=sum(math.prod(shape) for shape in shapes),
            weight_bytes=sum(file.stat().st_size for file in weight_files(folder)),
            pooling="+".join(_pooling_modes(pooling, pooling_file)),
            prompts=_prompts(prompts, folder / "config_sentence_transformers.json"),
            default_prompt=_default_prompt(prompts, folder / "config_sentence_transformers.json"),
            similarity=_similarity(prompts, folder),
            pools_prompt=bool(pooling.get("include_prompt", True)),
        )


def read_modules(folder: Path) -> list[dict[str, Any]]:
    """The modules of a folder, in order, each with ``type`` and ``path``.

    Raises:
        ArtifactError: ``modules.json`` is missing, or lists no such modules.
    """
    file = folder / "modules.json"
    modules = load_json(file)
    if not isinstance(modules, list):
        raise ArtifactError(file, f"holds a JSON {type(modules).__name__} where a list of modules is expected")
    for place, module in enumerate(modules):
        for key in ("type", "path"):
            if not isinstance(module, dict) or not isinstance(module.get(key), str):
                raise ArtifactError(file, f"has a module, number {place}, without a text as `{key}`")
        if PurePosixPath(module["path"]).is_absolute() or ".." in PurePosixPath(module["path"]).parts:
            raise ArtifactError(file, f"has a module whose `path` leaves the folder: {module['path']!r}")
    return modules


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that the library loads from a folder, sorted.

    Raises:
        ArtifactError: ``modules.json`` or an index of shards is missing or unreadable.
    """
    names = [path.relative_to(folder).as_posix() for path in folder.rglob(f"*{_SAFETENSORS}")]
    return [folder / name for name in weight_names(names, folder)]


def weight_names(names: Iterable[str], folder: Path) -> list[str]:
    """Which of a model's files are the weights that the library loads, sorted.

    At the root and in the folder of each module these are ``model.safetensors`` or, if that is not there, the shards of its
    index. Other copies (``model_fp16.safetensors``, ``checkpoint-500/``, ``consolidated.safetensors``) are never read.

    Args:
        names: paths of its files, relative to its folder.
        folder: has its ``modules.json`` and the indexes of its shards; the weights need not be there.

    Raises:
        ArtifactError: ``modules.json`` or an index is missing or unreadable.
    """
    places = module_places(folder)
    weights = {PurePosixPath(name) for name in names if name.endswith(_SAFETENSORS)}
    used = [place for place in {path.parent for path in weights} if is_inside(place, places)]
    return sorted(path.as_posix() for place in used for path in _loaded(place, weights, folder))


def module_places(folder: Path) -> list[PurePosixPath]:
    """The folders of a model's modules, the root first, relative to it."""
    paths = [PurePosixPath(str(module["path"])) for module in read_modules(folder)]
    return [_ROOT, *(path for path in paths if path != _ROOT)]


def is_inside(place: PurePosixPath, places: Sequence[PurePosixPath]) -> bool:
    """Whether a folder is one of the modules' folders, or inside of one other than the root: a module may hold others."""
    return any(place == path or (path != _ROOT and path in place.parents) for path in places)


def _loaded(place: PurePosixPath, weights: Collection[PurePosixPath], folder: Path) -> Collection[PurePosixPath]:
    """Those of the weights in one folder that are loaded."""
    here = {path for path in weights if path.parent == place}
    if place / WEIGHTS in here:
        return [place / WEIGHTS]
    index = folder / place / WEIGHTS_INDEX
    if index.is_file():
        return here & {place / shard for shard in _shards(index)}
    # A module with code of its own may have names of its own.
    return set() if place == _ROOT else here


def _shards(index: Path) -> Collection[str]:
    """The files that an index of shards lists."""
    shards = load_json_object(index).get("weight_map")
    if not isinstance(shards, dict):
        raise ArtifactError(index, "has no `weight_map` of tensors to files")
    return set(map(str, shards.values()))


def module_kind(module: Mapping[str, Any]) -> str:
    """Class name of a module that ``modules.json`` lists."""
    return str(module["type"]).rpartition(".")[2]


def scales_to_unit_length(modules: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the last module of a folder's ``modules.json`` scales vectors to length 1."""
    return module_kind(modules[-1]) == "Normalize"


def _path_of(modules: list[dict[str, Any]], kind: str, folder: Path) -> str:
    for module in modules:
        if module_kind(module) == kind:
            return str(module["path"])
    raise ArtifactError(folder, f"has no {kind} module; its modules are {', '.join(map(module_kind, modules))}")


def _dimension(folder: Path, modules: list[dict[str, Any]], pooling: Mapping[str, Any], pooling_file: Path) -> int:
    dimension = _pooled_width(pooling, pooling_file) * len(_pooling_modes(pooling, pooling_file))
    for module in modules:
        if module_kind(module) == "Dense":
            file = folder / module["path"] / "config.json"
            dimension = _whole_number(load_json_object(file), "out_features", file)
    return dimension


def _position_limit(text: Mapping[str, Any], file: Path) -> int | None:
    if text.get("max_position_embeddings") is None:
        return None
    limit = _whole_number(text, "max_position_embeddings", file)
    if limit < 0:  # XLNet says -1 for none
        return None
    after_padding = text.get("model_type") in _POSITIONS_AFTER_PADDING
    return limit - (_whole_number({"pad_token_id": 1, **text}, "pad_token_id", file) + 1 if after_padding else 0)


def _max_length(transformer: Path, limit: int | None) -> int:
    limits = [limit]
    for name, key in (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        stated = load_json_object(transformer / name, missing_is_empty=True)
        if stated.get(key) is not None:
            limits.append(_whole_number(stated, key, transformer / name, least=1))
            break
    # A tokenizer without a limit says so with a huge number.
    finite = [length for length in limits if length is not None and length < 10**9]
    if not finite:
        raise SourceError(f"{transformer}: neither the model nor its tokenizer says how long a text may be")
    return min(finite)


def _pooled_width(pooling: Mapping[str, Any], file: Path) -> int:
    """Width of the token vectors that are pooled."""
    key = "embedding_dimension" if pooling.get("embedding_dimension") else "word_embedding_dimension"
    return _whole_number(pooling, key, file)


def _whole_number(content: Mapping[str, Any], key: str, file: Path, least: int | None = None) -> int:
    """What a file has under a key, which has to be a whole number, and not less than ``least``."""
    if key not in content:
        raise ArtifactError(file, f"has no `{key}`")
    with suppress(TypeError, ValueError, OverflowError):
        number = int(content[key])
        if least is None or number >= least:
            return number
    expected = "a whole number" if least is None else f"a whole number of at least {least}"
    raise ArtifactError(file, f"has {content[key]!r} as `{key}`, where {expected} is expected")


def _prompts(config: Mapping[str, Any], file: Path) -> dict[str, str]:
    prompts = config.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(isinstance(text, str | None) for text in prompts.values()):
        raise ArtifactError(file, f"has {prompts!r} as `prompts`, where texts by name are expected")
    return {name: text or "" for name, text in prompts.items()}


def _pooling_modes(pooling: Mapping[str, Any], file: Path) -> list[str]:
    """The pooling modes, whose vectors are joined; where none is named, the library takes the mean."""
    modes = pooling.get("pooling_mode")
    if modes:
        listed = [modes] if isinstance(modes, str) else modes
        if not isinstance(listed, list) or not all(isinstance(mode, str) for mode in listed):
            raise ArtifactError(file, f"has {modes!r} as `pooling_mode`, where a name or a list of names is expected")
        return listed
    switches = {key.removeprefix("pooling_mode_"): on for key, on in pooling.items() if key.startswith("pooling_mode_")}
    return [mode for mode, on in switches.items() if on] or ["mean"]


def _similarity(config: Mapping[str, Any], folder: Path) -> str:
    name = config.get("similarity_fn_name") or "cosine"
    if name not in SIMILARITIES:
        known = ", ".join(SIMILARITIES)
        raise SourceError(
            f"{folder}: config_sentence_transformers.json: similarity_fn_name {name!r} is none of {known}"
        )
    return str(name)


def _default_prompt(config: Mapping[str, Any], file: Path) -> str:
    name = config.get("default_prompt_name")
    return _prompts(config, file).get(name, "") if name else ""
