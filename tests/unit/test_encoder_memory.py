"""After a device has run out of memory once, the batches behind it are as small as it needs."""

from __future__ import annotations

import numpy as np
import torch

from langtailor.models import encoder
from langtailor.models.loading import load_sentence_transformer
from tests.models import make_tiny_bert_teacher

ROOM = 300


def test_a_device_that_ran_out_of_memory_once_is_not_asked_for_as_much_again(tmp_path, monkeypatch):
    monkeypatch.setattr(encoder, "_WINDOW", 16)
    model = load_sentence_transformer(make_tiny_bert_teacher(tmp_path / "teacher"), "cpu")
    failures = []

    def forward(features):
        if features["input_ids"].numel() > ROOM:
            failures.append(features["input_ids"].numel())
            raise torch.OutOfMemoryError("no room")
        return model(features)["sentence_embedding"]

    texts = [f"the old ferry {number} crosses the strait every morning" for number in range(64)]
    found = encoder.Encoder(model, "", 512, forward).encode(texts, "test")
    np.testing.assert_allclose(found, model.encode(texts), atol=1e-5)
    assert len(failures) == 1, "later windows fit at once"
