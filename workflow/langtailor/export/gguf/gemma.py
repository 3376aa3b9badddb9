"""Gemma 3 with bidirectional attention, as in EmbeddingGemma, in llama.cpp.

llama.cpp aborts the process if the Dense modules do not fit, so their shape is checked here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import gguf
import numpy as np
from numpy.typing import NDArray

from langtailor.errors import ExportError
from langtailor.export.gguf.architecture import Architecture, rotary_base, write_rotary_heads

#: Names of the two Dense modules.
_DENSE = ("dense_2", "dense_3")
_QUERY_NORM = "attn_q_norm.weight"


class EmbeddingGemma(Architecture):
    """Bidirectional Gemma 3, with two Dense modules or none."""

    place = gguf.MODEL_ARCH.GEMMA_EMBEDDING
    family = "Gemma 3"
    computes: ClassVar[Mapping[str, Any]] = {
        "use_bidirectional_attention": True,
        "hidden_activation": "gelu_pytorch_tanh",
        "attention_bias": False,
        "attn_logit_softcapping": None,
    }

    def refuse_modules(self, further: Sequence[str]) -> None:
        """Two linear maps at most, and vectors as wide as the transformer."""
        other = [kind for kind in further if kind != "Dense"]
        if other:
            super().refuse_modules(other)
        if len(further) not in (0, len(_DENSE)):
            raise ExportError(
                f"llama.cpp supports two Dense modules after a Gemma 3, or none; this model has {len(further)}"
            )
        if not all(map(_is_linear, self._dense())):
            raise ExportError("llama.cpp supports only linear Dense modules without a bias after a Gemma 3")
        if self.info.dimension != self.config.hidden_size:
            raise ExportError(
                f"llama.cpp's vectors of a Gemma 3 have the transformer's width, {self.config.hidden_size}; this model's have "
                f"{self.info.dimension} dimensions"
            )

    def write_shape(self, writer: gguf.GGUFWriter) -> None:
        """With the window of local attention, the layers that have it, and both bases of rotary positions."""
        super().write_shape(writer)
        write_rotary_heads(writer, self.config)
        positions = self.config.rope_parameters
        writer.add_rope_freq_base(rotary_base(positions["full_attention"]))
        writer.add_rope_freq_base_swa(rotary_base(positions["sliding_attention"]))
        # llama.cpp counts the neighbours on both sides; transformers those on one side and the token itself.
        writer.add_sliding_window(2 * (self.config.sliding_window - 1))
        writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in self.config.layer_types])
        for name, dense in zip(_DENSE, self._dense(), strict=False):
            writer.add_dense_features_dims(name, dense.in_features, dense.out_features)

    def tensors(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Those of the transformer, then those of the Dense modules."""
        yield from super().tensors()
        for name, dense in zip(_DENSE, self._dense(), strict=False):
            yield f"{name}.weight", dense.linear.weight.detach().numpy()

    def stored(self, place: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The norms' factors, which are the only vectors, are stored as they are; transformers stores the factor minus one.

        llama.cpp scales attention scores by the width of a head. The model's own scale is folded into the query norm.
        """
        if values.ndim > 1:
            return values
        scale = self.config.head_dim / self.config.query_pre_attn_scalar if place.endswith(_QUERY_NORM) else 1
        return (values + 1) * np.float32(scale**0.5)

    def _dense(self) -> list[Any]:
        kinds = self.info.modules
        return [module for module, kind in zip(self._modules, kinds, strict=True) if kind == "Dense"]


def _is_linear(dense: Any) -> bool:
    """Whether a module is one product; versions of sentence-transformers before 5.7 have no other path beside it."""
    identity = type(dense.activation_function).__name__ == "Identity"
    return identity and not dense.bias and not getattr(dense, "use_residual", False)
