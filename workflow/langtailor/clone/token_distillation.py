"""New embedding rows fitted by token distillation.

After Dobler, Elliott and de Melo 2025 (arXiv 2505.20133): the row of a new token is trained so that the model's hidden
states for text with the token are those for the same text with the token's old pieces. All other weights are frozen, and
no other model is needed. The paper does so for causal models and compares the positions from the new token on. An
encoder's attention is bidirectional, so here all positions are compared at which both segmentations have a token
boundary.

Loss: ``mean over positions p of |h(p) - h'(p)|² / |h(p)|²`` with the last hidden states ``h`` of the teacher and
``h'`` of the clone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Encoding, Tokenizer
from torch.func import functional_call

from langtailor.clone.rows import Rows
from langtailor.config.initialisation import TokenDistillationSettings
from langtailor.corpus.reading import stream_texts
from langtailor.errors import ConfigError, LangtailorError
from langtailor.models.length_batches import padded
from langtailor.models.loading import load_sentence_transformer
from langtailor.models.tokenizer_file import open_tokenizer
from langtailor.progress import Progress

_LOG = logging.getLogger("langtailor")
#: Characters of a passage that are read: the meaning of a token needs a sentence, not a page.
_CHARACTERS = 400
#: Steps over which the loss is averaged at the beginning and at the end.
_AVERAGED_STEPS = 20


@dataclass(frozen=True)
class Fit:
    """Fitted rows and their loss.

    Attributes:
        rows: float32, shape (new rows, d).
        before: mean loss of the first steps.
        after: mean loss of the last steps.
        passages: passages with a new token.
    """

    rows: torch.Tensor
    before: float
    after: float
    passages: int


def fit_rows(
    teacher: Path,
    clone: Path,
    new_rows: Rows,
    corpora: Mapping[str, Path],
    settings: TokenDistillationSettings,
    seed: int,
    *,
    prompts: Mapping[str, str] | None = None,
    device: str = "cpu",
    trust_remote_code: bool = False,
) -> Fit:
    """Fit the clone's new rows.

    Args:
        teacher: the teacher's folder.
        clone: the clone's folder; its new rows, made by another method, are where the fit starts.
        new_rows: ids of the new rows, ascending.
        corpora: corpus by language; train passages with a new token are read.
        settings: steps, batch size and learning rate.
        seed: seeds the order of the passages.
        prompts: put before each passage, as the teacher reads its language; nothing where there is none.
        device: ``cpu`` or ``cuda``.
        trust_remote_code: run Python code that comes with the model.

    Raises:
        ArtifactError: a corpus is damaged.
        ConfigError: no passage has a new token, or a batch is too large for the device.
        LangtailorError: the loss is not finite.
    """
    old, new = (open_tokenizer(folder) for folder in (teacher, clone))
    _LOG.info("searching for passages with new tokens")
    passages = _passages_with(new_rows, new, corpora, prompts or {}, settings.steps * settings.batch_size, seed)
    if not passages.drawn:
        raise ConfigError(
            "initialisation.token_distillation",
            "no train passage has a new token, so there is nothing to fit; set steps to 0, or give more text",
        )
    reference, fitted = (
        _Transformer(
            load_sentence_transformer(folder, device, trust_remote_code=trust_remote_code).transformers_model, trainable
        )
        for folder, trainable in ((teacher, None), (clone, new_rows))
    )
    losses = _train(fitted, lambda some: _loss(reference, fitted, old, new, some), passages.drawn, settings, seed)
    before, after = float(np.mean(losses[:_AVERAGED_STEPS])), float(np.mean(losses[-_AVERAGED_STEPS:]))
    _LOG.info("%s new rows fitted: loss %.4f -> %.4f", f"{len(new_rows):,}", before, after)
    return Fit(fitted.rows.detach().cpu(), before, after, passages.found)


def _train(
    fitted: _Transformer,
    loss_of: Callable[[list[str]], torch.Tensor],
    texts: Sequence[str],
    settings: TokenDistillationSettings,
    seed: int,
) -> list[float]:
    """Train the rows; returns the loss of each step."""
    optimizer = torch.optim.AdamW([fitted.rows], lr=settings.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / settings.steps)
    losses: list[float] = []
    with Progress("fitting new rows", settings.steps, "step") as progress:
        for batch in _batches(texts, settings, seed):
            try:
                loss = loss_of(batch)
            except torch.OutOfMemoryError as error:
                raise ConfigError(
                    "initialisation.token_distillation.batch_size",
                    f"found {settings.batch_size}, for which the device has too little memory; lower it",
                ) from error
            if not torch.isfinite(loss):
                raise LangtailorError(
                    f"the loss of step {len(losses)} is not finite; lower token_distillation.learning_rate"
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            progress.update(1, f"loss {losses[-1]:.4f}")
    return losses


class _Transformer:
    """A transformer's last hidden states, with some rows of its embeddings as trainable parameters.

    Args:
        transformer: the model of transformers; its own parameters are frozen.
        trainable: ids of the trainable rows; ``None`` for none.

    Attributes:
        rows: the trainable rows, shape (rows, d).
    """

    def __init__(self, transformer: Any, trainable: Rows | None = None) -> None:
        self._transformer = transformer.requires_grad_(False)
        embedding = transformer.get_input_embeddings()
        self._table = embedding.weight.detach()
        self._name = next(name for name, value in transformer.named_parameters() if value is embedding.weight)
        self._trainable = torch.from_numpy(trainable).to(self._table.device) if trainable is not None else None
        self.rows = torch.nn.Parameter(self._table[self._trainable if trainable is not None else []].clone())
        self._pad = int(getattr(transformer.config, "pad_token_id", None) or 0)

    def __call__(self, encodings: Sequence[Encoding]) -> torch.Tensor:
        """Last hidden states, float32, shape (texts, longest, d)."""
        ids, mask = padded([encoding.ids for encoding in encodings], self._pad, "right")
        arrays = {"input_ids": ids, "attention_mask": mask}
        inputs = {name: torch.from_numpy(values).to(self._table.device) for name, values in arrays.items()}
        if self._trainable is None:
            with torch.no_grad():
                return self._hidden(self._transformer(**inputs))
        table = self._table.index_copy(0, self._trainable, self.rows)
        return self._hidden(functional_call(self._transformer, {self._name: table}, kwargs=inputs))

    @staticmethod
    def _hidden(output: Any) -> torch.Tensor:
        states: torch.Tensor = output.last_hidden_state
        return states


def _loss(
    reference: _Transformer, fitted: _Transformer, old: Tokenizer, new: Tokenizer, batch: Sequence[str]
) -> torch.Tensor:
    """The loss on some texts, which the one reads by the old tokenizer and the other by the new one."""
    old_encodings, new_encodings = old.encode_batch(batch), new.encode_batch(batch)
    texts, old_positions, new_positions = [], [], []
    for text, encodings in enumerate(zip(old_encodings, new_encodings, strict=True)):
        for old_position, new_position in _shared_ends(*encodings):
            texts.append(text)
            old_positions.append(old_position)
            new_positions.append(new_position)
    target = reference(old_encodings)[texts, old_positions]
    states = fitted(new_encodings)[texts, new_positions]
    return ((states - target).square().sum(dim=1) / target.square().sum(dim=1).clamp_min(1e-12)).mean()


def _shared_ends(old: Encoding, new: Encoding) -> Iterator[tuple[int, int]]:
    """Positions of both segmentations that end at the same character."""
    old_ends = _ends(old)
    return ((old_ends[end], position) for end, position in _ends(new).items() if end in old_ends)


def _ends(encoding: Encoding) -> dict[int, int]:
    """The position of the token that ends at each character; of several, such as bytes, the last one."""
    spans = enumerate(zip(encoding.offsets, encoding.special_tokens_mask, strict=True))
    return {end: position for position, ((start, end), special) in spans if not special and end > start}


@dataclass(frozen=True)
class _Passages:
    """Passages with a new token: how many there are, and an even sample of no more than the fit can read."""

    found: int
    drawn: list[str]


def _passages_with(
    new_rows: Rows,
    tokenizer: Tokenizer,
    corpora: Mapping[str, Path],
    prompts: Mapping[str, str],
    most: int,
    seed: int,
) -> _Passages:
    """Beginnings of train passages that contain a new token, after their prompts; of more than ``most`` so many are drawn.

    The draw is a reservoir (Vitter 1985, algorithm R), so that memory does not grow with the corpus.
    """
    is_new = np.zeros(tokenizer.get_vocab_size(), bool)
    is_new[new_rows] = True
    random = np.random.default_rng(seed)
    found = 0
    drawn: list[str] = []
    for lang, corpus in corpora.items():
        prompt = prompts.get(lang, "")
        for batch in stream_texts(corpus, ["train"]):
            texts = [text[:_CHARACTERS] for text in batch.to_pylist()]
            for text, encoding in zip(texts, tokenizer.encode_batch_fast(texts), strict=True):
                if not is_new[encoding.ids].any():
                    continue
                found += 1
                if len(drawn) < most:
                    drawn.append(prompt + text)
                elif (place := int(random.integers(found))) < most:
                    drawn[place] = prompt + text
    return _Passages(found, drawn)


def _batches(passages: Sequence[str], settings: TokenDistillationSettings, seed: int) -> Iterator[list[str]]:
    """One batch for each step, from epochs that are shuffled anew."""
    random = np.random.default_rng(seed)
    queue: list[int] = []
    for _ in range(settings.steps):
        while len(queue) < settings.batch_size:
            queue += random.permutation(len(passages)).tolist()
        yield [passages[i] for i in queue[: settings.batch_size]]
        queue = queue[settings.batch_size :]
