"""The gradient of the objective on a whole batch, over as many micro-batches and processes as it takes.

Passages of a batch are sorted by length and split into micro-batches with little padding. Where the objective is a mean
over passages, the gradients of the micro-batches add up (gradient accumulation). Where it compares passages with one
another, all micro-batches share one graph as long as they fit into one budget; beyond that, and over several processes,
gradient caching (GradCache) takes two forward passes: the first computes the vectors without a graph, the objective is
differentiated with respect to them, and the second carries that gradient into the model (Gao et al. 2021, "Scaling Deep
Contrastive Learning Batch Size under Memory Limited Setup", arXiv 2101.06983).

On a CPU each micro-batch has a core of its own (:mod:`langtailor.models.cpu_workers`). How a batch is split, and the
order in which gradients are added, depend on the batch alone, so that the weights do not depend on the number of cores.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from langtailor.distillation.data import Passages
from langtailor.distillation.objective import Objective
from langtailor.distillation.student import Student
from langtailor.distillation.subword_dropout import SubwordDropout
from langtailor.distillation.targets import targets_of
from langtailor.errors import TrainingError
from langtailor.models.cpu_workers import each_core
from langtailor.models.length_batches import Rows, cheapest_batches, longest_first
from langtailor.objectives.term import Targets

_LOG = logging.getLogger("langtailor")
Terms = dict[str, Tensor]
Gradients = tuple[Tensor | None, ...]
ForwardPass = Callable[[], Tensor]
#: Where each core has micro-batches of its own, a batch is split into about so many, of so many tokens at least and at most.
_CORE_MICRO_BATCHES, _LEAST_TOKENS, _MOST_TOKENS = 16, 256, 2_048


class BatchGradient:
    """Adds the gradient of the objective on a batch to the student's parameters.

    Args:
        accelerator: knows the other processes.
        student: the model; with several processes its forward synchronises gradients.
        objective: the loss.
        passages: where rows come from.
        budget: most tokens of a micro-batch, padding included; halved when memory runs out.
        seed: of dropout, whose masks are a function of seed, step, process and micro-batch.
        subword_dropout: drops tokens, where that is asked for.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        student: Student,
        objective: Objective,
        passages: Passages,
        budget: int,
        seed: int,
        subword_dropout: SubwordDropout | None = None,
    ) -> None:
        self._accelerator, self._student, self._objective = accelerator, student, objective
        self._passages, self.budget, self._seed = passages, budget, seed
        self._subword_dropout = subword_dropout
        self._rank, self._world = accelerator.process_index, accelerator.num_processes
        # Dropout draws from one generator for all threads: its masks would depend on who comes first.
        self._on_cores = accelerator.device.type == "cpu" and self._world == 1 and not student.has_dropout

    def __call__(self, rows: Rows, step: int) -> Terms:
        """Compute gradients, in smaller micro-batches where memory runs out.

        Args:
            rows: the batch, over all processes; its size is a multiple of their number.
            step: the step, for dropout.

        Returns:
            Loss and terms of the whole batch, without a graph.

        Raises:
            TrainingError: memory runs out though every micro-batch has a single passage, or in one of several processes.
        """
        order = rows[longest_first(self._passages.lengths[rows])]
        longest = int(self._passages.lengths[order[0]])
        while True:
            try:
                return self._compute(order, step)
            except torch.OutOfMemoryError as error:
                # Its traceback holds the graph of the batch, which has to go before there is memory for another.
                out_of_memory = error.with_traceback(None)
            self._student.model.zero_grad()
            self._shrink(longest, out_of_memory)

    def _shrink(self, longest: int, error: torch.OutOfMemoryError) -> None:
        if self._world > 1 or self.budget <= longest:
            raise TrainingError(
                f"out of memory with micro-batches of {self.budget:,} tokens and a longest passage of {longest:,}: lower "
                "micro_batch_tokens or max_length, or set gradient_checkpointing"
            ) from error
        self.budget = max(longest, self.budget // 2)
        _LOG.warning("out of memory: continuing with micro-batches of %s tokens", f"{self.budget:,}")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _compute(self, order: Rows, step: int) -> Terms:
        # Every process takes passages of all lengths, so that they end together.
        rows = order[self._rank :: self._world]
        lengths = self._passages.lengths[rows]
        budget = self._micro_batch_tokens(int(lengths.sum()))
        parts = cheapest_batches(lengths, budget, self._accelerator.device.type)
        forward = [self._forward_pass(rows[part], step, index) for index, part in enumerate(parts)]
        if not self._objective.compares_passages:
            batches = [rows[part] for part in parts]
            if self._on_cores:
                return self._accumulate_on_cores(forward, batches)
            return self._accumulate(forward, batches, len(order))
        padded = sum(int(lengths[part][0]) * len(lengths[part]) for part in parts)
        if self._world == 1 and padded <= self.budget:
            return self._one_graph_on_cores(forward, parts, rows) if self._on_cores else self._one_graph(forward, rows)
        return self._with_gradient_caching(forward, parts, order)

    def _micro_batch_tokens(self, tokens: int) -> int:
        if not self._on_cores:
            return self.budget
        return min(self.budget, max(_LEAST_TOKENS, min(tokens // _CORE_MICRO_BATCHES, _MOST_TOKENS)))

    def _accumulate_on_cores(self, forward: list[ForwardPass], batches: list[Rows]) -> Terms:
        parameters, batch = self._trainable(), sum(map(len, batches))
        targets = [self._targets(rows) for rows in batches]

        def differentiate(index: int) -> tuple[Terms, Gradients]:
            share = len(batches[index]) / batch
            terms = self._objective(forward[index](), targets[index])
            gradients = torch.autograd.grad(terms["loss"] * share, parameters, allow_unused=True)
            return {name: share * term.detach() for name, term in terms.items()}, gradients

        totals: Terms = {}
        with each_core() as run:
            for terms, gradients in run(differentiate, range(len(batches))):
                _add(parameters, gradients)
                totals = {name: totals.get(name, 0) + term for name, term in terms.items()}
        return totals

    def _one_graph_on_cores(self, forward: list[ForwardPass], parts: list[slice], rows: Rows) -> Terms:
        """A graph for each micro-batch, joined by the gradient with respect to all outputs."""
        parameters = self._trainable()
        with each_core() as run:
            outputs = list(run(lambda forward_pass: forward_pass(), forward))
            all_outputs = torch.cat([part.detach() for part in outputs]).requires_grad_()
            terms = self._objective(all_outputs, self._targets(rows))
            (gradient,) = torch.autograd.grad(terms["loss"], [all_outputs])

            def differentiate(index: int) -> Gradients:
                return torch.autograd.grad(outputs[index], parameters, gradient[parts[index]], allow_unused=True)

            for gradients in run(differentiate, range(len(parts))):
                _add(parameters, gradients)
        return {name: term.detach() for name, term in terms.items()}

    def _trainable(self) -> list[torch.nn.Parameter]:
        return [parameter for parameter in self._student.model.parameters() if parameter.requires_grad]

    def _accumulate(self, forward: list[ForwardPass], batches: list[Rows], batch: int) -> Terms:
        totals: Terms = {}
        for index, (forward_pass, rows) in enumerate(zip(forward, batches, strict=True)):
            with self._sync_if(index == len(batches) - 1):
                targets = self._targets(rows)  # on their way while the device computes
                terms = self._objective(forward_pass(), targets)
                share = len(rows) / batch
                # Over processes gradients are averaged, not added.
                torch.autograd.backward(terms["loss"] * share * self._world)
            for name, term in terms.items():
                totals[name] = totals.get(name, 0) + share * term.detach()
        reduced: Terms = self._accelerator.reduce(totals, "sum")
        return reduced

    def _one_graph(self, forward: list[ForwardPass], rows: Rows) -> Terms:
        targets = self._targets(rows)
        outputs = torch.cat([forward_pass() for forward_pass in forward])
        terms = self._objective(outputs, targets)
        torch.autograd.backward(terms["loss"])
        return {name: term.detach() for name, term in terms.items()}

    def _with_gradient_caching(self, forward: list[ForwardPass], parts: list[slice], order: Rows) -> Terms:
        with torch.no_grad(), self._sync_if(False):
            outputs = torch.cat([forward_pass() for forward_pass in forward])
        all_outputs = self._accelerator.gather(outputs).requires_grad_()
        all_rows = np.concatenate([order[rank :: self._world] for rank in range(self._world)])
        terms = self._objective(all_outputs, self._targets(all_rows))
        (gradients,) = torch.autograd.grad(terms["loss"], [all_outputs])
        gradient = gradients.chunk(self._world)[self._rank] * self._world
        for index, (forward_pass, part) in enumerate(zip(forward, parts, strict=True)):
            with self._sync_if(index == len(parts) - 1):
                torch.autograd.backward(forward_pass(), gradient[part])
        return {name: term.detach() for name, term in terms.items()}

    def _forward_pass(self, rows: Rows, step: int, part: int) -> ForwardPass:
        """A forward pass that can be repeated with the same dropout."""
        seed = int(np.random.SeedSequence([self._seed, step, self._rank, part]).generate_state(1)[0])

        def forward_pass() -> Tensor:
            torch.manual_seed(seed)
            ids = self._passages.tokens(rows)
            return self._student.outputs(self._subword_dropout(ids, rows, step) if self._subword_dropout else ids)

        return forward_pass

    def _targets(self, rows: Rows) -> Targets:
        """What the student's vectors of some rows are compared with."""
        return targets_of(self._passages, rows, self._accelerator.device)

    def _sync_if(self, last: bool) -> AbstractContextManager[None]:
        """Processes exchange gradients once, in the last backward pass."""
        return nullcontext() if last else self._student.no_sync()


def _add(parameters: list[torch.nn.Parameter], gradients: Gradients) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None:
            parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
