"""A static export in the form in which evaluation tasks use a model."""

from __future__ import annotations

from typing import Any

import torch

from langtailor.export.runtime import ExportedModel
from langtailor.models.length_batches import padded


class StaticModel(ExportedModel):
    """An export that reads texts by its own tokenizer, whatever its student reads."""

    def preprocess(self, texts: list[str], **options: Any) -> dict[str, Any]:
        """Ids without special tokens, padded at the side where the student has its padding."""
        tokens, mask = padded(self._client.ids(texts), 0, self.tokenizer.padding_side)
        return {"input_ids": torch.from_numpy(tokens), "attention_mask": torch.from_numpy(mask)}
