"""Which layers of a model a smaller one has, and what its configuration and its tensors are called then."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from langtailor.config.student import StudentSettings
from langtailor.errors import ConfigError, LangtailorError
from langtailor.models.folder import weight_files
from langtailor.models.safetensors_file import stored_tensors

#: What configurations call the number of layers.
_COUNTS = ("num_hidden_layers", "n_layers", "num_layers")
#: A tensor of a numbered layer: the name of the stack, the number, and the rest.
_LAYER = re.compile(r"(?P<stack>.+?)\.(?P<number>\d+)\.(?P<rest>.+)")


def chosen_layers(settings: StudentSettings, count: int) -> list[int]:
    """The layers that the settings name, of a model that has ``count``; ascending. All where they are to be tried.

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
    if settings.tries_layers:
        return list(range(count))
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


@dataclass(frozen=True)
class LayerTensors:
    """The tensors of a model with numbered layers.

    Attributes:
        others: names of the tensors that belong to no layer.
        stack: name of the layers: what comes before their numbers.
        layers: for each layer the shapes of its tensors, by their names within it.
    """

    others: tuple[str, ...]
    stack: str
    layers: tuple[Mapping[str, tuple[int, ...]], ...]

    @classmethod
    def read(cls, folder: Path, count: int) -> Self:
        """Those of a model's folder.

        Args:
            folder: the model's folder.
            count: the number of its layers.

        Raises:
            LangtailorError: the tensors are not numbered by layer.
        """
        tensors = [tensor for file in weight_files(folder) for tensor in stored_tensors(file)]
        matches = {tensor.name: match for tensor in tensors if (match := _LAYER.fullmatch(tensor.name))}
        stack = _stack(folder, matches.values(), count)
        layers: tuple[dict[str, tuple[int, ...]], ...] = tuple({} for _ in range(count))
        others = []
        for tensor in tensors:
            match = matches.get(tensor.name)
            if match is not None and match["stack"] == stack:
                layers[int(match["number"])][match["rest"]] = tensor.shape
            else:
                others.append(tensor.name)
        return cls(tuple(others), stack, layers)

    def misfit(self, kept: Sequence[int]) -> str | None:
        """The first of these layers that cannot take its new place, where the library would build one with other tensors.

        Args:
            kept: the layers that are left, ascending.

        Returns:
            What is wrong and what to do about it; ``None`` where all can.
        """
        for place, layer in enumerate(kept):
            if differing := sorted({name for name, _ in self.layers[layer].items() ^ self.layers[place].items()}):
                return (
                    f"layer {layer} would replace layer {place}, which differs in {', '.join(differing)}; "
                    f"keep layer {place}"
                )
        return None

    def renamed(self, kept: Sequence[int]) -> dict[str, str]:
        """The tensors that are left, by name, with their new names, in which layers count from 0 again.

        Raises:
            ConfigError: a layer's tensors differ from those of the layer that it would replace.
        """
        if misfit := self.misfit(kept):
            raise ConfigError("student.layers", misfit)
        names = {name: name for name in self.others}
        for place, layer in enumerate(kept):
            names |= {f"{self.stack}.{layer}.{rest}": f"{self.stack}.{place}.{rest}" for rest in self.layers[layer]}
        return names


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
