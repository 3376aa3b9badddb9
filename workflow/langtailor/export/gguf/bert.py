"""BERT and XLM-RoBERTa in llama.cpp, which has one architecture for both: positions count from the first row of their table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import gguf
import numpy as np
from numpy.typing import NDArray

from langtailor.export.gguf.architecture import Architecture
from langtailor.export.gguf.kinds import POSITIONS

#: Model types whose first token has the row of the position table behind that of the padding id.
_AFTER_PADDING = ("roberta", "xlm-roberta")


class Bert(Architecture):
    """BERT, RoBERTa, XLM-RoBERTa."""

    place = gguf.MODEL_ARCH.BERT
    family = "BERT"
    computes: ClassVar[Mapping[str, Any]] = {"hidden_act": "gelu"}
    left_out = ("pooler.", "embeddings.position_ids")

    def write_shape(self, writer: gguf.GGUFWriter) -> None:
        """With the kind of attention, and the rows of the table of token types."""
        super().write_shape(writer)
        writer.add_layer_norm_eps(self.config.layer_norm_eps)
        writer.add_causal_attention(False)
        writer.add_token_type_count(self.config.type_vocab_size)

    def stored(self, place: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of the position table the rows that a token can have: llama.cpp refuses longer texts."""
        if place != POSITIONS:
            return values
        first = self.config.pad_token_id + 1 if self.config.model_type in _AFTER_PADDING else 0
        return values[first : first + self.info.max_length]
