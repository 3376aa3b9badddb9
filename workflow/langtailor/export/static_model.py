"""A static export in the form in which evaluation tasks use a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from langtailor.export.runtime import ExportedModel


class StaticModel(ExportedModel):
    """An export that reads texts by its own tokenizer, whatever its student reads."""

    def preprocess(self, texts: list[str], **options: Any) -> dict[str, Any]:
        """Ids without special tokens, padded at the side where the student has its padding."""
        ids = self._client.ids(texts)
        width = max(1, *map(len, ids))
        tokens, mask = np.zeros((len(ids), width), np.int64), np.zeros((len(ids), width), np.int64)
        for row, numbers in enumerate(ids):
            left = self.tokenizer.padding_side == "left"
            part = slice(width - len(numbers), width) if left else slice(len(numbers))
            tokens[row, part], mask[row, part] = numbers, 1
        return {"input_ids": torch.from_numpy(tokens), "attention_mask": torch.from_numpy(mask)}
