"""Which files of a model are taken into the run: what its library loads, and what says how to read and to cite it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from langtailor.errors import ConfigError
from langtailor.models.folder import WEIGHTS, WEIGHTS_INDEX, is_inside, module_places, weight_names
from langtailor.storage.artifacts import MANIFEST_NAME
from langtailor.storage.tables import MAPPING_NAME
from langtailor.teacher.adapter import ADAPTER_CONFIG
from langtailor.teacher.refusal import errors_of

_LOG = logging.getLogger("langtailor")
_KEY = "teacher.model"
#: Weights in formats that are never read: pickle, or other runtimes.
_NOT_WEIGHTS = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.onnx", "*.gguf", "*.ot", "*.tflite")
_NOT_FOLDERS = frozenset({"onnx", "openvino", "coreml", "__pycache__", "eval", "runs"})
#: What training and evaluation left next to a model, and what langtailor writes next to a clone.
_NOT_MODEL = (
    "data_config.json",
    "training.jsonl",
    "metrics.jsonl",
    "trainer_state.json",
    "*_results.json",
    "*_results.csv",
    "events.out.tfevents.*",
    MAPPING_NAME,
    "certificate.json",
)
_PICKLED = "pytorch_model*.bin"
_ADAPTER_WEIGHTS = "adapter_model.safetensors"
_ROOT = PurePosixPath()


def model_files(present: Iterable[str], model: str) -> list[str]:
    """The files that may belong to a model, weights in all places among them, by their names alone.

    Args:
        present: paths of all its files.
        model: its name in messages.

    Returns:
        Sorted paths.

    Raises:
        ConfigError: it lacks what is needed, or has no weights at its root but pickled ones.
    """
    names = sorted(name for name in present if not _is_foreign(PurePosixPath(name)))
    if "modules.json" not in names:
        raise ConfigError(
            _KEY,
            f"{model!r} has no modules.json: it is not a sentence-transformers model. Load it with "
            "SentenceTransformer, which adds mean pooling, save it with save_pretrained, and give that folder",
        )
    if "tokenizer.json" not in names:
        raise ConfigError(_KEY, f"{model!r} has no tokenizer.json next to modules.json: a fast tokenizer is needed")
    _refuse_pickled(names, names, [_ROOT], model)
    return names


def used_files(names: Sequence[str], folder: Path, model: str) -> list[str]:
    """Those of a model's files that are taken: of several copies of its weights the one that the library loads.

    Args:
        names: what :func:`model_files` gives.
        folder: has those of them that are not weights.
        model: its name in messages.

    Returns:
        Sorted paths.

    Raises:
        ConfigError: ``modules.json`` or an index of shards is unreadable, or there are no weights that can be loaded.
    """
    with errors_of(folder, model):
        places, weights = module_places(folder), _weights(names, folder)
    _refuse_pickled(names, weights, places, model)
    unused = [name for name in names if name.endswith(".safetensors") and name not in weights]
    if not any(PurePosixPath(name).parent == _ROOT for name in weights):
        named = f" of the name that the library loads, {WEIGHTS}; it has {unused[0]}" if unused else ""
        raise ConfigError(_KEY, f"{model!r} has no safetensors weights{named}")
    if unused:
        _LOG.info("left out %s: the library does not load them", ", ".join(unused))
    # A folder with weights that no module has is that of another model, such as a checkpoint.
    others = {parent for name in unused if not is_inside(parent := PurePosixPath(name).parent, places)}
    return [name for name in names if _is_used(PurePosixPath(name), weights, others)]


def has_weights(name: str) -> bool:
    """Whether a file is one of weights, by its name."""
    return any(fnmatchcase(name, pattern) for pattern in ("*.safetensors", *_NOT_WEIGHTS))


def _is_used(name: PurePosixPath, weights: Collection[str], others: Collection[PurePosixPath]) -> bool:
    """Whether a file is taken, by the weights that are and the folders that are not."""
    if name.name.endswith(".safetensors.index.json"):
        return name.name == WEIGHTS_INDEX and (name.parent / WEIGHTS).as_posix() not in weights
    if name.suffix == ".safetensors":
        return name.as_posix() in weights
    return not (has_weights(name.as_posix()) or {*name.parents} & {*others})


def _weights(names: Collection[str], folder: Path) -> set[str]:
    """The weights that are loaded: at the root those of an adapter, if it is one, instead of those beside them."""
    weights = set(weight_names(names, folder))
    if not {ADAPTER_CONFIG, _ADAPTER_WEIGHTS} <= set(names):
        return weights
    return {_ADAPTER_WEIGHTS, *(name for name in weights if PurePosixPath(name).parent != _ROOT)}


def _refuse_pickled(
    names: Collection[str], weights: Collection[str], places: Sequence[PurePosixPath], model: str
) -> None:
    """Refuse pickled weights in the folder of a module that has no others."""
    safe = {PurePosixPath(name).parent for name in weights if name.endswith(".safetensors")}
    for path in map(PurePosixPath, names):
        if fnmatchcase(path.name, _PICKLED) and path.parent not in safe and path.parent in places:
            raise ConfigError(
                _KEY,
                f"{model!r} has {path} but no safetensors weights next to it. Pickled weights can run code and are "
                "never loaded: use a revision with safetensors, or convert the model if you trust it",
            )


def _is_foreign(name: PurePosixPath) -> bool:
    """Whether a file belongs to something else than the model as we use it."""
    if name.name == MANIFEST_NAME or any(fnmatchcase(name.name, pattern) for pattern in _NOT_MODEL):
        return True
    return any(part.startswith(".") or part in _NOT_FOLDERS for part in name.parts)
