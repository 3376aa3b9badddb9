"""The clone in training: it reads stored token ids, is unfrozen in phases, and is written in the clone's layout."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from transformers.modeling_layers import GradientCheckpointingLayer

from langtailor.config.distillation import DistillationSettings
from langtailor.distillation.hidden_states import HiddenStateErrors, WholeClone, return_hidden_states
from langtailor.distillation.schedule import Trainable
from langtailor.distillation.tokens import Ids
from langtailor.errors import ArtifactError
from langtailor.models.attention import keep_attention_in_float32
from langtailor.models.length_batches import padded
from langtailor.models.loading import load_sentence_transformer
from langtailor.models.precision import computes_bfloat16
from langtailor.models.safetensors_file import stored_dtype
from langtailor.storage.artifacts import MANIFEST_NAME, SNAKEMAKE_MARK, manifest_in
from langtailor.storage.tables import MAPPING, MAPPING_NAME, read_table

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_LOG = logging.getLogger("langtailor")
State = dict[str, Tensor]


class Student:
    """A sentence-transformers model in float32, trained in place.

    Args:
        clone: its folder.
        settings: how it is trained.
        device: where it computes.
        prompt_length: tokens of the prompt, for models whose pooling leaves it out.
        trust_remote_code: run Python code that comes with the model.
        whole: the clone with all layers, where hidden states are compared.

    Raises:
        ArtifactError: the clone's mapping is damaged or not that of its table.

    Attributes:
        model: all modules.
        embedding: the token-embedding table; float32, shape (V, width).
        new_rows: which of its rows belong to tokens that the teacher does not have; bool, shape (V,).
    """

    def __init__(
        self,
        clone: Path,
        settings: DistillationSettings,
        device: torch.device,
        prompt_length: int | None = None,
        *,
        trust_remote_code: bool = False,
        whole: WholeClone | None = None,
    ) -> None:
        self.model: SentenceTransformer = load_sentence_transformer(
            clone, str(device), trust_remote_code=trust_remote_code
        )
        self._in_bfloat16 = settings.precision == "bfloat16" and computes_bfloat16(device)
        if settings.precision == "bfloat16" and not self._in_bfloat16:
            _LOG.warning(
                "this %s has no arithmetic for bfloat16: computing in float32, which is faster here", device.type
            )
        if device.type == "cpu" and self._in_bfloat16:
            keep_attention_in_float32(self.model)
        transformer: Any = self.model.transformers_model
        self._table: torch.nn.Embedding = transformer.get_input_embeddings()
        self.embedding: torch.nn.Parameter = self._table.weight
        self._gradient: Tensor | None = None
        # A dense gradient of the table would be allocated, zeroed and added for each micro-batch, which takes a CPU longer
        # than a layer. A GPU does that in no time, and processes exchange dense gradients.
        self._table.sparse = device.type == "cpu" and not torch.distributed.is_initialized()
        self.new_rows = read_new_rows(clone, len(self.embedding)).to(device)
        self._device, self._settings, self._prompt_length = device, settings, prompt_length
        self._forward: torch.nn.Module = self.model
        if settings.gradient_checkpointing:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        self._hidden_states: HiddenStateErrors | None = None
        if whole is not None:
            self._hidden_states = HiddenStateErrors(whole, device, trust_remote_code=trust_remote_code)
            return_hidden_states(self.model)

    def __call__(self, ids: Sequence[Ids]) -> Tensor:
        """Vectors of passages; float32, shape (len(ids), dimension)."""
        vectors: Tensor = self._read(self._features(ids))["sentence_embedding"]
        return vectors.float()

    def outputs(self, ids: Sequence[Ids]) -> Tensor:
        """What the objective is computed from: vectors and, where hidden states are compared, their errors behind them.

        Returns:
            float32, shape (len(ids), dimension), or (len(ids), dimension + 1) with hidden states.
        """
        if self._hidden_states is None:
            return self(ids)
        features = self._features(ids)
        read = self._read(dict(features))
        with self._autocast():
            errors = self._hidden_states.errors(features, read["all_layer_embeddings"])
        return torch.cat([read["sentence_embedding"].float(), errors], dim=1)

    def measure_hidden_states(self, ids: Sequence[Ids]) -> None:
        """Measure how the hidden states of some passages vary, where hidden states are compared."""
        if self._hidden_states is not None:
            self._hidden_states.measure_variances(self._features([passage]) for passage in ids)

    def _read(self, features: dict[str, Any]) -> dict[str, Any]:
        # Processes validate at their own pace: only forward passes with gradients go through the distributed wrapper.
        forward = self._forward if torch.is_grad_enabled() else self.model
        with self._autocast():
            return dict(forward(features))

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._in_bfloat16)

    @property
    def has_dropout(self) -> bool:
        """Whether it trains with dropout."""
        return self._settings.dropout

    def train(self, training: bool) -> None:
        """Switch to training or to validation. Without dropout the two differ in recomputing activations alone."""
        self.model.train(training and self._settings.dropout)
        if self._settings.gradient_checkpointing:
            for module in self.model.modules():
                if isinstance(module, GradientCheckpointingLayer):
                    module.training = training

    def unfreeze(self, trainable: Trainable) -> None:
        """Let only what a phase trains take gradients; the rest costs no backward pass."""
        for parameter in self.model.parameters():
            parameter.requires_grad_(trainable == "everything" or parameter is self.embedding)

    def densify_gradient(self, trainable: Trainable) -> None:
        """Bring the embedding table's gradient, once it is complete, into the form in which the optimiser takes it.

        A sparse one becomes dense; where only new rows are trained, the others' is dropped.
        """
        gradient = self.embedding.grad
        assert gradient is not None
        if gradient.is_sparse:
            if self._gradient is None:
                self._gradient = torch.zeros_like(self.embedding)
            self._gradient.zero_().index_add_(0, gradient._indices()[0], gradient._values())
            self.embedding.grad = gradient = self._gradient
        if trainable == "new rows":
            gradient.masked_fill_(~self.new_rows[:, None], 0)

    def wrap(self, wrapper: torch.nn.Module) -> None:
        """Compute through a distributed wrapper of :attr:`model`, or through the model itself."""
        self._forward = wrapper

    def no_sync(self) -> AbstractContextManager[None]:
        """Backward passes in this context leave gradients where they are instead of exchanging them."""
        return self._forward.no_sync() if isinstance(self._forward, DistributedDataParallel) else nullcontext()

    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """All parameters by name; one that two modules share is listed once."""
        return dict(self.model.named_parameters())

    def state(self) -> State:
        """A copy of all parameters, on the CPU."""
        return {name: value.detach().to("cpu", copy=True) for name, value in self.parameters().items()}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over all parameters from :meth:`state`."""
        for name, value in self.parameters().items():
            value.copy_(state[name])

    def _features(self, ids: Sequence[Ids]) -> dict[str, Any]:
        tokenizer = self.model.tokenizer
        tokens, mask = padded(ids, tokenizer.pad_token_id or 0, tokenizer.padding_side)
        features: dict[str, Any] = {
            "input_ids": to_device(tokens, self._device),
            "attention_mask": to_device(mask, self._device),
        }
        if self._prompt_length is not None:
            features["prompt_length"] = self._prompt_length
        return features


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """A tensor of an array's values; from pinned memory, so that the copy does not wait for what the device still has to do."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def read_new_rows(clone: Path, rows: int) -> Tensor:
    """Which rows of a clone's embedding table belong to tokens that the teacher does not have; bool, shape (V,).

    Args:
        clone: a clone, or a model that has been trained already, whose new rows are like all others.
        rows: of its embedding table.

    Raises:
        ArtifactError: the mapping is missing or damaged, or has another number of rows.
    """
    if manifest_in(clone).kind == "distilled":
        return torch.zeros(rows, dtype=torch.bool)
    table, manifest = read_table(clone / MAPPING_NAME, "mapping", MAPPING, ["new_id"])
    new = torch.zeros(len(table), dtype=torch.bool)
    for first, last in manifest.facts["new_rows"]:
        new[first : last + 1] = True
    if len(new) != rows:
        raise ArtifactError(clone / MAPPING_NAME, f"has {len(new):,} rows for an embedding table of {rows:,}")
    return new


def write_student(student: Student, clone: Path, folder: Path) -> None:
    """Fill ``folder`` with the clone's files and the student's weights, in the clone's precision.

    The library writes the weights, so that it finds them again; every other file stays the clone's.
    """
    ignored = shutil.ignore_patterns(MANIFEST_NAME, MAPPING_NAME, SNAKEMAKE_MARK, "*.safetensors*")
    shutil.copytree(clone, folder, dirs_exist_ok=True, ignore=ignored)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        saved = Path(name)
        student.model.save_pretrained(str(saved), create_model_card=False)
        for file in sorted(saved.rglob("*.safetensors")):
            relative = file.relative_to(saved)
            dtype = stored_dtype(clone / relative.parent)
            tensors = {key: _cast(value, dtype) for key, value in load_file(file).items()}
            save_file(tensors, folder / relative, {"format": "pt"})


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous()
