"""Encoding many texts of mixed length near the speed of the device.

What costs time besides the arithmetic, and what is done about it:

- *padding*: a batch has a number of tokens, not a number of texts, and texts of similar length;
- *waiting*: the next texts are tokenized while the last are encoded; on CUDA all batches of a window are started before
  the first result is awaited;
- *synchronisation*: on a CPU each core has batches of its own. A result then depends on the batch alone and not on the
  number of cores.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from langtailor.errors import LangtailorError
from langtailor.models.cpu_workers import MapFunction, each_core
from langtailor.models.length_batches import Rows, greedy_batches, longest_first
from langtailor.progress import Progress
from langtailor.storage.batching import batched
from langtailor.storage.memory import release_freed_memory

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_LOG = logging.getLogger("langtailor")
#: Texts that are tokenized together.
_WINDOW = 2_048
#: Most tokens that a core encodes at once: activations of more do not fit into its cache.
_CORE_TOKENS = 2_048
#: Batches on a CPU after which freed memory is given back: the C library keeps blocks of all the sizes that batches had.
_BATCHES_BETWEEN_RELEASES = 4

Features = dict[str, Any]
Forward = Callable[[Features], torch.Tensor]
Item = TypeVar("Item")
Result = TypeVar("Result")


class Encoder:
    """Gives the vectors of ``SentenceTransformer.encode``, for any stack of modules, which are called as they are.

    Args:
        model: the model, on its device.
        prompt: prefix of each text.
        batch_tokens: most tokens, padding included, in one forward pass; halved when the device runs out of memory.
            On a CPU, where more tokens at once are slower, 2,048 at most.
        forward: maps features to sentence vectors; the model itself unless a test says otherwise.

    Attributes:
        tokens: tokens encoded so far, prompts and special tokens included.
        padded_tokens: the same with padding.
    """

    def __init__(
        self, model: SentenceTransformer, prompt: str, batch_tokens: int, forward: Forward | None = None
    ) -> None:
        self._model, self._prompt = model, prompt
        self._on_cpu = model.device.type == "cpu"
        self._budget = min(batch_tokens, _CORE_TOKENS) if self._on_cpu else batch_tokens
        self._forward = forward or (lambda features: model(features)["sentence_embedding"])
        self.tokens = self.padded_tokens = 0

    @property
    def padding_share(self) -> float:
        """Share of padding among the tokens of all batches."""
        return 1 - self.tokens / self.padded_tokens if self.padded_tokens else 0.0

    def encode(self, texts: Sequence[str], label: str) -> NDArray[np.float32]:
        """Vectors of the texts, in their order.

        Args:
            texts: the texts.
            label: label of the progress lines.

        Returns:
            float32, shape (n, d).

        Raises:
            LangtailorError: the device has too little memory for one text.
        """
        vectors = np.empty((len(texts), int(self._model.get_embedding_dimension() or 0)), np.float32)
        # Longest first: a batch that is too large shows at once. The sort is stable, so that reruns make the same batches.
        order = longest_first([len(text) for text in texts])
        windows = [np.array(window) for window in batched(order.tolist(), _WINDOW)]
        started = time.monotonic()
        with (
            Progress(label, len(texts), "passage") as progress,
            ThreadPoolExecutor(1) as ahead,
            each_core(self._on_cpu) as run,
        ):
            tokenized = _one_ahead(ahead, lambda window: self._tokenize([texts[row] for row in window]), windows)
            for window, features in zip(windows, tokenized, strict=True):
                for rows, encoded in self._encode_window(features, run):
                    vectors[window[rows]] = encoded.float().cpu().numpy()
                    rate = self.tokens / (time.monotonic() - started)
                    progress.update(len(rows), f"{rate:,.0f} tokens/s")
        return vectors

    def _tokenize(self, texts: list[str]) -> Features:
        # The model's own preprocessing: prompt, truncation, and the features that its modules expect.
        return dict(self._model.preprocess(texts, prompt=self._prompt or None))

    def _encode_window(self, features: Features, run: MapFunction) -> Iterator[tuple[Rows, torch.Tensor]]:
        """Rows of the texts with their vectors: on a CPU as cores finish them, elsewhere while the device computes."""
        lengths = features["attention_mask"].sum(dim=1).numpy()
        # By tokens now, of which the number of characters was an estimate.
        order = longest_first(lengths)
        batches = (order[part] for part in greedy_batches(lengths[order], lambda: self._budget))
        encoded = run(lambda rows: (rows, self._run(features, lengths, rows)), batches)
        # A GPU gets all batches before the first result is awaited.
        for number, (rows, vectors) in enumerate(encoded if self._on_cpu else list(encoded)):
            self.tokens += int(lengths[rows].sum())
            self.padded_tokens += len(rows) * int(lengths[rows].max())
            yield rows, vectors
            if self._on_cpu and number % _BATCHES_BETWEEN_RELEASES == 0:
                release_freed_memory()

    def _run(self, features: Features, lengths: Rows, rows: Rows) -> torch.Tensor:
        """Vectors of some rows, longest first; in halves where the device has too little memory for all."""
        width = int(lengths[rows[0]])
        try:
            with torch.inference_mode():
                return self._forward(self._batch(features, rows, width))
        except torch.OutOfMemoryError:
            if len(rows) == 1:
                raise LangtailorError(
                    f"the device has too little memory for one passage of {width} tokens; lower teacher.max_length"
                ) from None
        # On a CPU this batch was cut before others had lowered the budget.
        self._budget = min(self._budget, max(1, len(rows) * width // 2))
        _LOG.warning("out of memory: continuing with batches of %s tokens", f"{self._budget:,}")
        torch.cuda.empty_cache()
        half = len(rows) // 2
        return torch.cat([self._run(features, lengths, part) for part in (rows[:half], rows[half:])])

    def _batch(self, features: Features, rows: Rows, width: int) -> Features:
        """The features of some rows, without the columns that are padding in all of them, on the model's device."""
        index, (count, total) = torch.from_numpy(rows), features["attention_mask"].shape
        left = self._model.tokenizer.padding_side == "left"
        columns = slice(total - width, total) if left else slice(0, width)

        def select(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            if value.ndim and len(value) == count:
                value = value[index, columns] if value.shape[1:] == (total,) else value[index]
            # From pinned memory a copy runs while the device computes.
            return value if self._on_cpu else value.pin_memory().to(self._model.device, non_blocking=True)

        return {name: select(value) for name, value in features.items()}


def _one_ahead(pool: Executor, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results in order; while one is used, the next is being made."""
    current = None
    for item in items:
        following = pool.submit(function, item)
        if current is not None:
            yield current.result()
        current = following
    if current is not None:
        yield current.result()
