"""A student's transformer as one of llama.cpp's architectures: what they have in common."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import gguf
import numpy as np
from numpy.typing import NDArray

from langtailor.errors import ExportError
from langtailor.models.folder import ModelInfo

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

#: By the names of old and of new versions of sentence-transformers.
_POOLINGS = {
    "mean": gguf.PoolingType.MEAN,
    "mean_tokens": gguf.PoolingType.MEAN,
    "cls": gguf.PoolingType.CLS,
    "cls_token": gguf.PoolingType.CLS,
    "lasttoken": gguf.PoolingType.LAST,
}


class Architecture(ABC):
    """A transformer with its pooling. Names of tensors and keys are those of the package ``gguf``.

    Args:
        info: what the model's folder says.
        model: the same model, loaded in float32.

    Attributes:
        place: its place in the package ``gguf``.
        family: what to call it in messages.
        computes: what llama.cpp computes, whatever the file says, by key of ``config.json``.
        left_out: starts of the names of tensors that have no use in a sentence vector.
    """

    place: ClassVar[gguf.MODEL_ARCH]
    family: ClassVar[str]
    computes: ClassVar[Mapping[str, Any]]
    left_out: ClassVar[tuple[str, ...]] = ()

    def __init__(self, info: ModelInfo, model: SentenceTransformer) -> None:
        transformer: Any = model[0].auto_model
        self.info, self.config = info, transformer.config
        self._state: dict[str, Any] = transformer.state_dict()
        self._modules: list[Any] = list(model)
        self.refuse()

    def refuse(self) -> None:
        """Check that llama.cpp computes the same.

        Raises:
            ExportError: it does not.
        """
        if self.info.pooling not in _POOLINGS:
            raise ExportError(
                f"llama.cpp has no pooling {self.info.pooling!r}; it supports the mean, the first token and the last"
            )
        for key, value in self.computes.items():
            if getattr(self.config, key) != value:
                raise ExportError(
                    f"llama.cpp computes {self.family} with {key} {value!r}; this model has {getattr(self.config, key)!r}"
                )
        further = self.info.modules[2:]
        self.refuse_modules(further[:-1] if further[-1:] == ("Normalize",) else further)

    def refuse_modules(self, further: Sequence[str]) -> None:
        """Refuse modules between pooling and scaling; most architectures support none."""
        if further:
            raise ExportError(
                f"llama.cpp has no {further[0]} module after a {self.family}, and without it the vectors would differ"
            )

    @property
    def context_length(self) -> int:
        """Tokens for which llama.cpp makes room."""
        return self.info.max_length

    def write_shape(self, writer: gguf.GGUFWriter) -> None:
        """Write the settings that llama.cpp needs before it reads tensors."""
        writer.add_context_length(self.context_length)
        writer.add_embedding_length(self.config.hidden_size)
        writer.add_block_count(self.config.num_hidden_layers)
        writer.add_feed_forward_length(self.config.intermediate_size)
        writer.add_head_count(self.config.num_attention_heads)
        writer.add_pooling_type(_POOLINGS[self.info.pooling])

    def tensors(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Names of llama.cpp and float32 values.

        Raises:
            ExportError: there is no place for one.
        """
        names = gguf.get_tensor_name_map(self.place, self.config.num_hidden_layers)
        for name, tensor in self._state.items():
            if name.startswith(self.left_out):
                continue
            place = names.get_name(name, try_suffixes=(".weight", ".bias"))
            if place is None:
                raise ExportError(f"llama.cpp's {self.family} does not support the tensor {name!r}")
            yield place, self.stored(place, tensor.numpy())

    def stored(self, place: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """A tensor as the file has it."""
        return values


def write_rotary_heads(writer: gguf.GGUFWriter, config: Any) -> None:
    """What heads have in architectures with rotary positions, grouped keys and values, and RMSNorm."""
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def rotary_base(settings: Mapping[str, Any]) -> float:
    """The base of rotary positions.

    Raises:
        ExportError: they are scaled.
    """
    if settings["rope_type"] != "default":
        raise ExportError(
            f"gguf exports support unscaled rotary positions; this model scales them ({settings['rope_type']!r})"
        )
    return float(settings["rope_theta"])
