"""The hidden states of the clone with all layers, as what those of a student with fewer layers are compared with.

A vector says what a text is about; the states of its tokens after each layer say how the model got there. They bring a
student that lacks layers nearer to the model it was made of than vectors alone do (docs/smaller.md has the figures). The
clone is smaller than the teacher, and reads the student's tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from langtailor.models.loading import load_sentence_transformer
from langtailor.storage.artifacts import directory_digest, read_manifest

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


@dataclass(frozen=True)
class WholeClone:
    """The clone that a student with fewer layers was made of.

    Attributes:
        folder: the clone's.
        layers: those of its layers that the student has, ascending.
    """

    folder: Path
    layers: tuple[int, ...]

    @classmethod
    def of(cls, folder: Path, reduced: Path) -> Self:
        """The clone that a reduced one was made of.

        Args:
            folder: the clone's.
            reduced: the reduced clone's, whose manifest names the layers.

        Raises:
            ArtifactError: the reduced clone's manifest is missing or damaged.
        """
        return cls(folder, tuple(read_manifest(reduced, "clone").facts["reduction"]["layers"]))

    def digest(self) -> dict[str, Any]:
        """What it is, for manifests."""
        return {"clone": directory_digest(self.folder), "layers": list(self.layers)}


class HiddenStateErrors:
    """Compares a student's hidden states with those of the clone with all layers.

    The state after a student's layer is compared with the clone's after the same layer, and its last one with the clone's last.

    Args:
        whole: the clone.
        device: where it computes.
        trust_remote_code: run Python code that comes with the model.
    """

    def __init__(self, whole: WholeClone, device: torch.device, *, trust_remote_code: bool = False) -> None:
        self._model = load_sentence_transformer(whole.folder, str(device), trust_remote_code=trust_remote_code)
        return_hidden_states(self._model)
        # The first state is that before all layers. The last one may come after a norm that follows the last layer.
        self._places = [*(layer + 1 for layer in whole.layers[:-1]), -1]
        self._variances: Tensor | None = None

    def measure_variances(self, passages: Iterable[Mapping[str, Any]]) -> None:
        """Measure the variance of the clone's states over the tokens of some passages. All later errors are divided by it.

        Args:
            passages: features of each passage, as the model reads them.
        """
        tokens, sums, squares = 0, torch.zeros(()), torch.zeros(())
        for features in passages:
            states = self._states(features).squeeze(1).double()
            tokens += states.shape[1]
            sums, squares = sums.to(states) + states.sum(dim=1), squares.to(states) + states.square().sum(dim=1)
        self._variances = (squares / tokens - (sums / tokens).square()).mean(dim=1).float()

    def errors(self, features: Mapping[str, Any], states: Sequence[Tensor]) -> Tensor:
        """Mean squared error of the student's states, over layers, tokens and dimensions, relative to the clone's variance.

        Args:
            features: what the student has read.
            states: its hidden states before its first layer and after each; shape (n, tokens, width).

        Returns:
            A column, a row a passage; float32, shape (n, 1).
        """
        assert self._variances is not None
        squared = (torch.stack(list(states[1:])).float() - self._states(features)).square().mean(dim=-1)
        by_token = (squared / self._variances[:, None, None]).mean(dim=0)
        mask = features["attention_mask"].to(by_token.dtype)
        errors: Tensor = (by_token * mask).sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True)
        return errors

    @torch.no_grad()
    def _states(self, features: Mapping[str, Any]) -> Tensor:
        """The clone's states that the student's are compared with; float32, shape (layers, n, tokens, width)."""
        states = self._model(dict(features))["all_layer_embeddings"]
        return torch.stack([states[place] for place in self._places]).float()


def return_hidden_states(model: SentenceTransformer) -> None:
    """Have a model's features include its hidden states, ``all_layer_embeddings``."""
    transformer: Any = model.transformers_model
    transformer.config.output_hidden_states = True
