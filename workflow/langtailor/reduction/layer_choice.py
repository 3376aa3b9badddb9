"""Which layers to keep, found by what leaving them out does to the vectors.

One layer after another is left out: each time the one without which the model's vectors of validation text stay nearest to
those of the whole model (backward elimination). To leave a layer out is to hand its input on to the next one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from langtailor.config.teacher import TeacherSettings
from langtailor.corpus.reading import read_texts
from langtailor.errors import ConfigError, LangtailorError
from langtailor.models.folder import ModelInfo
from langtailor.models.loading import load_teacher
from langtailor.models.prompts import find_prompt
from langtailor.models.similarity import COSINE, unit
from langtailor.progress import Progress
from langtailor.reduction.layers import LayerTensors
from langtailor.storage.batching import batched

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_LOG = logging.getLogger("langtailor")
#: Validation passages of all languages together that are read once for each trial, and how much of each.
_PASSAGES, _CHARACTERS = 192, 256
_AT_ONCE = 32

Features = dict[str, Any]


@dataclass(frozen=True)
class LeftOut:
    """A layer that was left out, and the mean cosine of the vectors to the whole model's from then on."""

    layer: int
    cosine: float


@dataclass
class _SkippingModel:
    """A model some of whose layers can be skipped."""

    model: SentenceTransformer
    layers: Sequence[torch.nn.Module]
    batches: Sequence[Features]
    skipped: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        for number, layer in enumerate(self.layers):
            layer.register_forward_hook(self._hook(number), with_kwargs=True)
        self.whole = self._vectors()

    def cosine(self, kept: Collection[int]) -> float:
        """Mean cosine of the vectors with these layers alone to those with all."""
        self.skipped = set(range(len(self.layers))).difference(kept)
        return float(COSINE.pairs(self._vectors(), self.whole).mean())

    @torch.no_grad()
    def _vectors(self) -> NDArray[np.float32]:
        """Vectors of all texts; float32, shape (texts, d), unit rows."""
        parts = [self.model(dict(features))["sentence_embedding"] for features in self.batches]
        return unit(torch.cat(parts).float().cpu().numpy())

    def _hook(self, number: int) -> Callable[[torch.nn.Module, Any, Any, Any], Any]:
        def hand_on(_: torch.nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
            if number not in self.skipped:
                return output
            states = args[0] if args else kwargs["hidden_states"]
            return (states, *output[1:]) if isinstance(output, tuple) else states

        return hand_on


def choose_layers(
    model: Path,
    count: int,
    tensors: LayerTensors,
    corpora: Mapping[str, Path],
    reading: TeacherSettings,
    device: str = "cpu",
) -> tuple[list[int], list[LeftOut]]:
    """The layers that are left after the others have been left out one by one.

    Args:
        model: a sentence-transformers folder.
        count: how many layers are kept.
        tensors: its layers' tensors, which say which layers can take the places of others.
        corpora: ``corpus/{lang}.parquet`` by language; beginnings of passages of the validation split are read.
        reading: how the model reads them.
        device: ``cpu`` or ``cuda``.

    Returns:
        The layers, ascending, and those left out, in that order.

    Raises:
        ConfigError: the validation split has no passage, or no layer may be left out any more.
        LangtailorError: the model's layers cannot be told apart.
    """
    loaded, total = load_teacher(model, reading, device), len(tensors.layers)
    trials = _SkippingModel(loaded, _layers(loaded, total), list(_batches(loaded, model, corpora, reading)))
    kept, left_out = list(range(total)), list[LeftOut]()
    with Progress("leaving out layers", sum(range(count + 1, total + 1)), "trial") as progress:
        while len(kept) > count:
            cosines = dict[int, float]()
            for layer in kept:
                rest = [each for each in kept if each != layer]
                if tensors.misfit(rest) is None:
                    cosines[layer] = trials.cosine(rest)
                progress.update()
            if not cosines:
                raise ConfigError("student.layers", f"found {count}, but none of the layers {kept} can be left out")
            layer = max(cosines, key=cosines.__getitem__)
            kept.remove(layer)
            left_out.append(LeftOut(layer, round(cosines[layer], 6)))
            _LOG.info("without layer %d: cosine %.4f to all layers", layer, cosines[layer])
    return kept, left_out


def _layers(model: SentenceTransformer, total: int) -> Sequence[torch.nn.Module]:
    """The model's stack of layers."""
    stacks = [part for part in model.modules() if isinstance(part, torch.nn.ModuleList) and len(part) == total]
    if len(stacks) != 1:
        raise LangtailorError(
            f"expected one stack of {total} layers in the model, found {len(stacks)}; `student.layer_choice` must not be "
            "`agreement`"
        )
    return list(stacks[0])


def _batches(
    loaded: SentenceTransformer, model: Path, corpora: Mapping[str, Path], reading: TeacherSettings
) -> Iterator[Features]:
    """Texts of all languages alike, as the model reads them, on its device."""
    from sentence_transformers.util import batch_to_device

    info, count = ModelInfo.read(model), 0
    for lang, corpus in corpora.items():
        prompt = find_prompt(info, reading.for_language(lang).prompt)
        texts = read_texts(corpus, "validation", max(1, _PASSAGES // len(corpora)))
        for some in batched([text[:_CHARACTERS] for text in texts], _AT_ONCE):
            features = loaded.preprocess(some, prompt=prompt or None)
            yield batch_to_device(features, loaded.device)
            count += len(some)
    if not count:
        raise ConfigError("corpus.quotas.validation", "there is no validation passage to choose layers by")
