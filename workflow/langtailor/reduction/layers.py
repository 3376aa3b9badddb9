"""Which layers of a model a smaller one has, and what its configuration and its tensors are called then."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from langtailor.config.student import StudentSettings
from langtailor.errors import ConfigError, LangtailorError
from langtailor.models.folder import weight_files
from langtailor.models.safetensors_file import StoredTensor, stored_tensors

#: What configurations call the number of layers.
_COUNTS = ("num_hidden_layers", "n_layers", "num_layers")
#: A tensor of a numbered layer: the name of the stack, the number, and the rest.
_LAYER = re.compile(r"(?P<stack>.+?)\.(?P<number>\d+)\.(?P<rest>.+)")


def chosen_layers(settings: StudentSettings, count: int) -> list[int]:
    """The layers that the settings name, of a model that has ``count``; ascending.

    Raises:
        ConfigError: the model has no such layer, or fewer layers.
    """
    asked = settings.layers
    if asked is None:
        return list(range(count))
    if not isinstance(asked, int):
        if max(asked) >= count:
            raise ConfigError("student.layers", f"found {max(asked)}, but the model has the layers 0 to {count - 1}")
        return sorted(asked)
    if asked > count:
        raise ConfigError("student.layers", f"found {asked}, but the model has only {count} layers")
    if settings.layer_choice == "first":
        return list(range(asked))
    if settings.layer_choice == "last":
        return list(range(count - asked, count))
    return [int(layer) for layer in np.linspace(0, count - 1, asked).round()]


def layer_count(config: Mapping[str, Any], place: Path) -> int:
    """The number of layers that a configuration states.

    Raises:
        LangtailorError: it states none.
    """
    text = config.get("text_config", config)
    for key in _COUNTS:
        if isinstance(text.get(key), int):
            return int(text[key])
    raise LangtailorError(f"{place}: does not say how many layers the model has; `student.layers` must be null")


def reduced_config(config: Mapping[str, Any], layers: Sequence[int], types: Sequence[str] | None) -> dict[str, Any]:
    """A configuration for these layers alone.

    Args:
        config: that of the whole model.
        layers: the layers that are left.
        types: the kind of attention of each layer of the whole model, where layers differ in it. Configurations may leave it to
            a pattern, which would give the layers that are left other kinds.
    """
    if "text_config" in config:
        return {**config, "text_config": reduced_config(config["text_config"], layers, types)}
    count = layer_count(config, Path("config.json"))
    new = dict(config) if types is None else {**config, "layer_types": list(types)}
    for key, value in new.items():
        if key in _COUNTS:
            new[key] = len(layers)
        elif "layer" in key and isinstance(value, list) and len(value) == count:
            new[key] = [value[layer] for layer in layers]
    return new


def reduced_names(folder: Path, layers: Sequence[int], count: int) -> dict[str, str]:
    """The tensors that are left of a model's, by name, with their new names, whose layers count from 0 again.

    Args:
        folder: the model's folder.
        layers: the layers that are left.
        count: the number of layers that there are.

    Raises:
        ConfigError: a layer's tensors differ from those of the layer that it would replace.
        LangtailorError: the tensors are not numbered by layer.
    """
    tensors = [tensor for file in weight_files(folder) for tensor in stored_tensors(file)]
    matches = {tensor.name: match for tensor in tensors if (match := _LAYER.fullmatch(tensor.name))}
    stack = _stack(folder, matches.values(), count)
    in_stack = {name: match for name, match in matches.items() if match["stack"] == stack}
    _check_alike(layers, [_parts(tensors, in_stack, layer) for layer in range(count)])
    places = {str(layer): place for place, layer in enumerate(layers)}
    kept = {tensor.name: tensor.name for tensor in tensors if tensor.name not in in_stack}
    return kept | {
        name: f"{stack}.{places[match['number']]}.{match['rest']}"
        for name, match in in_stack.items()
        if match["number"] in places
    }


def _stack(folder: Path, matches: Iterable[re.Match[str]], count: int) -> str:
    """The name of the layers: what comes before numbers from 0 to their count."""
    numbers: dict[str, set[int]] = {}
    for match in matches:
        numbers.setdefault(match["stack"], set()).add(int(match["number"]))
    stacks = [stack for stack, layers in numbers.items() if layers == set(range(count))]
    if len(stacks) != 1:
        raise LangtailorError(
            f"{folder}: expected the tensors of {count} numbered layers, found {stacks or sorted(numbers) or 'none'}; "
            "`student.layers` must be null"
        )
    return stacks[0]


def _parts(
    tensors: Iterable[StoredTensor], in_stack: Mapping[str, re.Match[str]], layer: int
) -> dict[str, tuple[int, ...]]:
    """Shapes of a layer's tensors by their names within it."""
    parts = {name: match["rest"] for name, match in in_stack.items() if int(match["number"]) == layer}
    return {parts[tensor.name]: tensor.shape for tensor in tensors if tensor.name in parts}


def _check_alike(layers: Sequence[int], parts: Sequence[Mapping[str, tuple[int, ...]]]) -> None:
    """Refuse a layer in the place of one that has other tensors: there the library would build another layer."""
    for place, layer in enumerate(layers):
        if differing := sorted({name for name, _ in parts[layer].items() ^ parts[place].items()}):
            raise ConfigError(
                "student.layers",
                f"layer {layer} would replace layer {place}, which differs in {', '.join(differing)}; "
                f"keep layer {place}",
            )
