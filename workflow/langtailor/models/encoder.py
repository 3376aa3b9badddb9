"""Encoding many texts of mixed length near the device's own speed.

What costs time beside the arithmetic, and what is done about it:

- *padding*: texts are batched by their number of tokens, not by a number of texts;
- *waiting*: the next texts are tokenized while the last are encoded; on CUDA nothing waits for a result until many
  batches are under way;
- *cores that wait for one another*: on a CPU each core has batches of its own. A result then depends on the batch alone
  and not on how many cores there are.
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
from langtailor.progress import Progress

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_LOG = logging.getLogger("langtailor")
#: Texts that are tokenized together.
_WINDOW = 2_048
#: Most tokens that a core encodes at once: activations of more fall out of its cache.
_CORE_TOKENS = 2_048
#: A batch that holds this share of its tokens ends at a text shorter than that share of its longest.
_ENOUGH, _SIMILAR = 1 / 8, 0.9

Features = dict[str, Any]
Forward = Callable[[Features], torch.Tensor]
Rows = NDArray[np.int64]
Item = TypeVar("Item")
Result = TypeVar("Result")


class Encoder:
    """Gives what ``SentenceTransformer.encode`` gives, for any stack of modules: the model's own do the work.

    Args:
        model: the model, on its device.
        prompt: put before each text.
        batch_tokens: most tokens, padding included, in one forward pass; halved when the device runs out of memory.
            On a CPU, where more tokens at once are slower, 2,048 at most.
        forward: maps features to sentence vectors; the model itself unless a test says otherwise.

    Attributes:
        tokens: encoded so far, prompts and special tokens included.
        places: tokens and padding in all batches so far.
    """

    def __init__(
        self, model: SentenceTransformer, prompt: str, batch_tokens: int, forward: Forward | None = None
    ) -> None:
        self._model, self._prompt = model, prompt
        self._on_cpu = model.device.type == "cpu"
        self._budget = min(batch_tokens, _CORE_TOKENS) if self._on_cpu else batch_tokens
        self._forward = forward or (lambda features: model(features)["sentence_embedding"])
        self.tokens = self.places = 0

    @property
    def padding_share(self) -> float:
        """Share of the places that held padding."""
        return 1 - self.tokens / self.places if self.places else 0.0

    def encode(self, texts: Sequence[str], label: str) -> NDArray[np.float32]:
        """Vectors of the texts, in their order.

        Args:
            texts: the texts.
            label: what the progress line says.

        Returns:
            float32, shape (n, d).

        Raises:
            LangtailorError: the device has too little memory for one text.
        """
        found = np.empty((len(texts), int(self._model.get_embedding_dimension() or 0)), np.float32)
        # Longest first: too large a batch shows at once. The sort is stable, so that reruns batch alike.
        order = np.argsort([-len(text) for text in texts], kind="stable")
        windows = [order[start : start + _WINDOW] for start in range(0, len(order), _WINDOW)]
        started = time.monotonic()
        with (
            Progress(label, len(texts), "passage") as progress,
            ThreadPoolExecutor(1) as ahead,
            each_core(self._on_cpu) as run,
        ):
            tokenized = _one_ahead(ahead, lambda window: self._tokenize([texts[row] for row in window]), windows)
            for window, features in zip(windows, tokenized, strict=True):
                for rows, vectors in self._encode_window(features, run):
                    found[window[rows]] = vectors.float().cpu().numpy()
                    rate = self.tokens / (time.monotonic() - started)
                    progress.update(len(rows), f"{rate:,.0f} tokens/s")
        return found

    def _tokenize(self, texts: list[str]) -> Features:
        # The model's own preprocessing: prompt, truncation, and the features that its modules expect.
        return dict(self._model.preprocess(texts, prompt=self._prompt or None))

    def _encode_window(self, features: Features, run: MapFunction) -> Iterator[tuple[Rows, torch.Tensor]]:
        """Rows of some texts with their vectors, which may still be under way on the device."""
        sizes = features["attention_mask"].sum(dim=1).numpy()
        # By tokens now, which characters only foretold.
        order = np.argsort(-sizes, kind="stable")
        batches = (order[part] for part in _batches(sizes[order], lambda: self._budget))
        # All batches are started before the first result is asked for.
        for rows, vectors in list(run(lambda rows: (rows, self._run(features, sizes, rows)), batches)):
            self.tokens += int(sizes[rows].sum())
            self.places += len(rows) * int(sizes[rows].max())
            yield rows, vectors

    def _run(self, features: Features, sizes: Rows, rows: Rows) -> torch.Tensor:
        """Vectors of some rows, longest first; in halves where the device has too little memory for all."""
        width = int(sizes[rows[0]])
        try:
            with torch.inference_mode():
                return self._forward(self._cut(features, rows, width))
        except torch.OutOfMemoryError:
            if len(rows) == 1:
                raise LangtailorError(
                    f"the device has too little memory for one passage of {width} tokens; lower teacher.max_length"
                ) from None
        self._budget = max(1, min(self._budget, len(rows) * width) // 2)
        _LOG.warning("out of memory: going on with %s tokens in a forward pass", f"{self._budget:,}")
        torch.cuda.empty_cache()
        half = len(rows) // 2
        return torch.cat([self._run(features, sizes, part) for part in (rows[:half], rows[half:])])

    def _cut(self, features: Features, rows: Rows, width: int) -> Features:
        """The features of some rows, without the columns that are padding in all of them, on the model's device."""
        index, (count, total) = torch.from_numpy(rows), features["attention_mask"].shape
        left = self._model.tokenizer.padding_side == "left"
        columns = slice(total - width, total) if left else slice(0, width)

        def cut(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            if value.ndim and len(value) == count:
                value = value[index, columns] if value.shape[1:] == (total,) else value[index]
            # From pinned memory a copy runs while the device computes.
            return value if self._on_cpu else value.pin_memory().to(self._model.device, non_blocking=True)

        return {name: cut(value) for name, value in features.items()}


def _batches(sizes: Rows, budget: Callable[[], int]) -> Iterator[slice]:
    """Cut texts, longest first, into batches of similar length that fit the budget as it stands by then.

    Args:
        sizes: tokens of each text, falling.
        budget: gives the most tokens, padding included, of the next batch.
    """
    start = 0
    while start < len(sizes):
        longest, most = max(int(sizes[start]), 1), budget()
        fits = start + max(1, most // longest)
        enough = start + max(1, int(_ENOUGH * most) // longest)
        similar = int(np.searchsorted(-sizes, -_SIMILAR * longest, side="right"))
        end = min(fits, max(enough, similar), len(sizes))
        yield slice(start, end)
        start = end


def _one_ahead(pool: Executor, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results in order; while one is used, the next is being made."""
    coming = None
    for item in items:
        coming, last = pool.submit(function, item), coming
        if last is not None:
            yield last.result()
    if coming is not None:
        yield coming.result()
