"""The gradient of the objective on a whole batch, over as many forward passes and processes as it takes.

Passages of a batch are sorted by length and cut into passes with little padding. Where the objective is a mean over
passages, the passes' gradients add up. Where it compares passages with one another, all passes share one graph as long
as they fit into one budget; beyond that, and over several processes, the vectors are computed first without a graph,
the objective is differentiated with respect to them, and a second forward pass carries that gradient into the model
(Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", arXiv 2101.06983).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from langtailor.distillation.batches import Rows, cut_by_length
from langtailor.distillation.data import Passages
from langtailor.distillation.objectives import Objective
from langtailor.distillation.student import Student
from langtailor.errors import TrainingError

_LOG = logging.getLogger("langtailor")
Terms = dict[str, Tensor]


class BatchGradient:
    """Adds the gradient of the objective on a batch to the student's parameters.

    Args:
        accelerator: knows the other processes.
        student: the model; with several processes its forward synchronises gradients.
        objective: the loss.
        passages: where rows come from.
        budget: most tokens of a forward pass, padding included; halved when memory runs out.
        seed: of dropout, whose masks are a function of seed, step, process and pass.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        student: Student,
        objective: Objective,
        passages: Passages,
        budget: int,
        seed: int,
    ) -> None:
        self._accelerator, self._student, self._objective = accelerator, student, objective
        self._passages, self.budget, self._seed = passages, budget, seed
        self._rank, self._world = accelerator.process_index, accelerator.num_processes

    def __call__(self, rows: Rows, step: int) -> Terms:
        """Compute gradients, in smaller passes where memory runs out.

        Args:
            rows: the batch, over all processes; its size is a multiple of their number.
            step: the step, for dropout.

        Returns:
            Loss and terms of the whole batch, without a graph.

        Raises:
            TrainingError: memory runs out though every pass has a single passage, or in one of several processes.
        """
        order = rows[np.argsort(-self._passages.lengths[rows], kind="stable")]
        longest = int(self._passages.lengths[order[0]])
        while True:
            try:
                return self._compute(order, step)
            except torch.OutOfMemoryError as error:
                self._shrink(longest, error)
            self._student.model.zero_grad()

    def _shrink(self, longest: int, error: torch.OutOfMemoryError) -> None:
        if self._world > 1 or self.budget <= longest:
            raise TrainingError(
                f"out of memory with passes of {self.budget:,} tokens and a longest passage of {longest:,}: lower "
                "distillation.micro_batch_tokens or distillation.max_length, or set distillation.gradient_checkpointing"
            ) from error
        self.budget = max(longest, self.budget // 2)
        _LOG.warning("out of memory: going on with %s tokens in a pass", f"{self.budget:,}")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _compute(self, order: Rows, step: int) -> Terms:
        # Every process takes passages of all lengths, so that they end together.
        mine = order[self._rank :: self._world]
        lengths = self._passages.lengths[mine]
        parts = cut_by_length(lengths, self.budget)
        encode = [self._encoder(mine[part], [step, self._rank, index]) for index, part in enumerate(parts)]
        if not self._objective.looks_across_passages:
            return self._added_up(encode, [mine[part] for part in parts], len(order))
        padded = sum(int(lengths[part][0]) * len(lengths[part]) for part in parts)
        if self._world == 1 and padded <= self.budget:
            return self._in_one_graph(encode, mine)
        return self._in_two_passes(encode, parts, order)

    def _added_up(self, encode: list[Callable[[], Tensor]], parts: list[Rows], batch: int) -> Terms:
        totals: Terms = {}
        for index, (vectors, rows) in enumerate(zip(encode, parts, strict=True)):
            with self._synchronised(index == len(parts) - 1):
                terms = self._objective(vectors(), self._targets(rows))
                share = len(rows) / batch
                # Over processes gradients are averaged, not added.
                torch.autograd.backward(terms["loss"] * share * self._world)
            for name, term in terms.items():
                totals[name] = totals.get(name, 0) + share * term.detach()
        reduced: Terms = self._accelerator.reduce(totals, "sum")
        return reduced

    def _in_one_graph(self, encode: list[Callable[[], Tensor]], rows: Rows) -> Terms:
        terms = self._objective(torch.cat([vectors() for vectors in encode]), self._targets(rows))
        torch.autograd.backward(terms["loss"])
        return {name: term.detach() for name, term in terms.items()}

    def _in_two_passes(self, encode: list[Callable[[], Tensor]], parts: list[slice], order: Rows) -> Terms:
        with torch.no_grad(), self._synchronised(False):
            mine = torch.cat([vectors() for vectors in encode])
        everyone = self._accelerator.gather(mine).requires_grad_()
        rows = np.concatenate([order[rank :: self._world] for rank in range(self._world)])
        terms = self._objective(everyone, self._targets(rows))
        (gradients,) = torch.autograd.grad(terms["loss"], [everyone])
        gradient = gradients.chunk(self._world)[self._rank] * self._world
        for index, (vectors, part) in enumerate(zip(encode, parts, strict=True)):
            with self._synchronised(index == len(parts) - 1):
                torch.autograd.backward(vectors(), gradient[part])
        return {name: term.detach() for name, term in terms.items()}

    def _encoder(self, rows: Rows, seeds: list[int]) -> Callable[[], Tensor]:
        """A forward pass that can be repeated with the same dropout."""
        seed = int(np.random.SeedSequence([self._seed, *seeds]).generate_state(1)[0])

        def encode() -> Tensor:
            torch.manual_seed(seed)
            return self._student(self._passages.tokens(rows))

        return encode

    def _targets(self, rows: Rows) -> Tensor:
        return torch.from_numpy(self._passages.targets(rows)).to(self._accelerator.device)

    def _synchronised(self, wanted: bool) -> AbstractContextManager[None]:
        """Gradients are exchanged once, with the last pass."""
        return nullcontext() if wanted else self._student.alone()
