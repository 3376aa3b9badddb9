"""What a sentence-transformers folder says of itself, without loading it.

Such a folder (https://sbert.net/docs/sentence_transformer/usage/custom_models.html) has a ``modules.json`` that names a
Transformer, a Pooling and possibly Dense and Normalize modules. Teacher, clone and student are folders of this kind.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
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
        modules = load_json(folder / "modules.json")
        transformer = folder / _path_of(modules, "Transformer", folder)
        pooling = load_json_object(folder / _path_of(modules, "Pooling", folder) / "config.json")
        config = load_json_object(transformer / "config.json")
        text = config.get("text_config", config)
        if "vocab_size" not in text:
            raise ArtifactError(transformer / "config.json", "has no `vocab_size`")
        prompts = load_json_object(folder / "config_sentence_transformers.json", missing_is_empty=True)
        shapes = [
            shape for file in weight_files(folder) for shape in tensor_shapes(file, parameters_only=True).values()
        ]
        limit = _position_limit(text)
        return cls(
            modules=tuple(map(module_kind, modules)),
            dimension=_dimension(folder, modules, pooling),
            hidden_size=_pooled_width(pooling),
            max_length=_max_length(transformer, limit),
            position_limit=limit,
            vocabulary_size=int(text["vocab_size"]),
            parameters=sum(math.prod(shape) for shape in shapes),
            weight_bytes=sum(file.stat().st_size for file in weight_files(folder)),
            pooling="+".join(_pooling_modes(pooling)),
            prompts=dict(prompts.get("prompts") or {}),
            default_prompt=_default_prompt(prompts),
            similarity=_similarity(prompts, folder),
            pools_prompt=bool(pooling.get("include_prompt", True)),
        )


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
    paths = [PurePosixPath(str(module["path"])) for module in load_json(folder / "modules.json")]
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
        return here & {place / shard for shard in load_json_object(index)["weight_map"].values()}
    # A module with code of its own may have names of its own.
    return set() if place == _ROOT else here


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


def _dimension(folder: Path, modules: list[dict[str, Any]], pooling: Mapping[str, Any]) -> int:
    dimension = _pooled_width(pooling) * len(_pooling_modes(pooling))
    for module in modules:
        if module_kind(module) == "Dense":
            dimension = int(load_json(folder / module["path"] / "config.json")["out_features"])
    return dimension


def _position_limit(text: Mapping[str, Any]) -> int | None:
    limit = text.get("max_position_embeddings")
    if limit is None or limit < 0:  # XLNet says -1 for none
        return None
    offset = int(text.get("pad_token_id", 1)) + 1 if text.get("model_type") in _POSITIONS_AFTER_PADDING else 0
    return int(limit) - offset


def _max_length(transformer: Path, limit: int | None) -> int:
    named = load_json_object(transformer / "sentence_bert_config.json", missing_is_empty=True).get("max_seq_length")
    stated = named or load_json_object(transformer / "tokenizer_config.json", missing_is_empty=True).get(
        "model_max_length"
    )
    # A tokenizer without a limit says so with a huge number.
    limits = [int(length) for length in (stated, limit) if length is not None and length < 10**9]
    if not limits:
        raise SourceError(f"{transformer}: neither the model nor its tokenizer says how long a text may be")
    return min(limits)


def _pooled_width(pooling: Mapping[str, Any]) -> int:
    """Width of the token vectors that are pooled."""
    return int(pooling.get("embedding_dimension") or pooling["word_embedding_dimension"])


def _pooling_modes(pooling: Mapping[str, Any]) -> list[str]:
    """The pooling modes, whose vectors are joined; where none is named, the library takes the mean."""
    modes = pooling.get("pooling_mode")
    if modes:
        return [modes] if isinstance(modes, str) else list(modes)
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


def _default_prompt(config: Mapping[str, Any]) -> str:
    name = config.get("default_prompt_name")
    return str((config.get("prompts") or {}).get(name, "")) if name else ""
