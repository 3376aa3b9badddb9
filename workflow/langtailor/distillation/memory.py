"""How many tokens a micro-batch may have, measured by one forward and backward pass over the longest passages.

What a token costs depends on depth, width, attention and precision: layers of EmbeddingGemma keep about 73 KB of
activations a token for the backward pass, those of a MiniLM a tenth. So it is measured, not estimated.
"""

from __future__ import annotations

import logging
from typing import Protocol

import torch

from langtailor.distillation.data import Passages
from langtailor.distillation.student import Student
from langtailor.models.length_batches import longest_first

_LOG = logging.getLogger("langtailor")
#: Tokens of a micro-batch where nothing is measured.
DEFAULT_TOKENS = 16_384
#: Tokens of the trial micro-batch, at least one passage.
_TRIAL_TOKENS = 4_096
#: Most tokens of a micro-batch: more would not fill a GPU any better.
_MOST_TOKENS = 131_072
#: Share of the free memory that is left to fragmentation, to the objective and to whoever shares the device.
_RESERVE = 0.1
_STEP = 1_024


class Memory(Protocol):
    """A device's memory, in bytes."""

    def free(self) -> int:
        """What may still be allocated."""
        ...

    def allocated(self) -> int:
        """What is allocated; the peak counts from here on."""
        ...

    def peak(self) -> int:
        """The most that was allocated at once since :meth:`allocated`."""
        ...


class CudaMemory:
    """The current CUDA device's memory."""

    def free(self) -> int:
        """What the device has, and what torch holds without using it."""
        return torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()

    def allocated(self) -> int:
        """See :class:`Memory`."""
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()

    def peak(self) -> int:
        """See :class:`Memory`."""
        return torch.cuda.max_memory_allocated()


def affordable_tokens(student: Student, passages: Passages, memory: Memory) -> int:
    """Most tokens of a micro-batch for which the device has the memory, when everything is trained.

    Args:
        student: the model, before its first step: gradients and AdamW's two moments have yet to be allocated.
        passages: what it is trained on; the longest are read.
        memory: the device's.
    """
    order = longest_first(passages.lengths)
    longest = int(passages.lengths[order[0]])
    rows = order[: max(1, _TRIAL_TOKENS // longest)]
    student.unfreeze("everything")
    student.train(True)
    weights = sum(parameter.numel() * parameter.element_size() for parameter in student.parameters().values())
    before = memory.allocated()
    try:
        student.outputs(passages.tokens(rows)).sum().backward()  # type: ignore[no-untyped-call]
    except torch.OutOfMemoryError:
        _LOG.warning("out of memory with %d passages of %s tokens", len(rows), f"{longest:,}")
        return longest
    finally:
        student.model.zero_grad()
    a_token = max(1.0, (memory.peak() - before - weights) / (len(rows) * longest))
    fitting = int(((1 - _RESERVE) * memory.free() - 3 * weights) / a_token)
    budget = max(longest, min(fitting, _MOST_TOKENS) // _STEP * _STEP)
    _LOG.info("micro-batches of %s tokens: a token takes %.0f KB in training", f"{budget:,}", a_token / 1e3)
    return budget
