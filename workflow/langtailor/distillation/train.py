"""Training the student on stored token ids and stored teacher vectors; the teacher itself is never loaded.

A step takes ``batch_size`` passages, whose gradient is exactly that of the objective on the whole batch, whatever the
number of forward passes and processes, and AdamW applies it. Killed at any moment, a run goes on from its last
checkpoint; on a CPU it ends in the same bits as an undisturbed one.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import broadcast_object_list

from langtailor.config.distillation import DistillationSettings, ObjectiveSettings
from langtailor.config.teacher import TeacherSettings
from langtailor.distillation.batches import Rows, Stream
from langtailor.distillation.checkpoints import Checkpoints, Progressed, Snapshot
from langtailor.distillation.data import Passages
from langtailor.distillation.gradients import BatchGradient
from langtailor.distillation.metrics import Metrics
from langtailor.distillation.objectives import Objective
from langtailor.distillation.optimizer import load_optimizer_state, make_optimizer, optimizer_state, set_rates
from langtailor.distillation.schedule import Phase, phase_at, plan_phases, rate_factor
from langtailor.distillation.sts_pairs import StsDevSet, load_sts_dev_set
from langtailor.distillation.student import State, Student, write_student
from langtailor.distillation.tokens import TRAINING_SPLITS, TokenFile, tokenizer_digest
from langtailor.distillation.validation import Validator
from langtailor.errors import ArtifactError, ConfigError, TrainingError
from langtailor.models.folder import ModelInfo
from langtailor.models.similarity import Similarity
from langtailor.progress import Progress
from langtailor.storage.artifacts import (
    Manifest,
    atomic_directory,
    canonical_json,
    directory_digest,
    read_manifest,
    seal_directory,
    sha256_bytes,
)
from langtailor.storage.code_digest import module_digest
from langtailor.vectors.store import VectorStore

_LOG = logging.getLogger("langtailor")
#: Settings that change how a run is sts_dev_set and saved, but not what it computes.
NON_SEMANTIC_SETTINGS = ("checkpoint_every", "tensorboard")
#: Libraries whose versions may change what a run computes.
COMPUTE_LIBRARIES = ("torch", "transformers", "sentence-transformers")
#: Passage ids that an error message names.
_NAMED = 16


def distil(
    clone: Path,
    tokens: Mapping[str, Path],
    vectors: Mapping[str, Sequence[Path]],
    settings: DistillationSettings,
    seed: int,
    device: str,
    checkpoints: Path,
    out: Path,
    *,
    trust_remote_code: bool = False,
) -> None:
    """Train a clone until its vectors are the teacher's.

    Runs in one process, or in each of several that ``accelerate launch`` or ``torchrun`` started.

    Args:
        clone: the clone (kind ``clone``).
        tokens: token file by language, made with the clone's tokenizer and ``settings.max_length``.
        vectors: vector shards by language, in order.
        settings: the objective and how it is reached.
        seed: of the order of passages and of dropout.
        device: ``cpu`` or ``cuda``.
        checkpoints: folder of this run's checkpoints and live metrics. An interrupted run with the same inputs and
            settings goes on from there; the checkpoints are removed once ``out`` is written.
        out: the trained model (kind ``distilled``): the clone's files with new weights, and ``training.jsonl``. Its
            facts give ``steps`` done of ``planned_steps``, ``kept_step``, and the validations ``before`` and ``after``
            (that of the kept weights), each with ``loss`` and ``cosine`` over all and by language.
        trust_remote_code: run Python code that comes with the model.

    Raises:
        ArtifactError: an input is damaged or the inputs do not belong together.
        ConfigError: the settings do not fit the data or the model.
        SourceError: the sentence pairs to watch cannot be read.
        TrainingError: the loss is not finite, or a single passage does not fit into memory.
    """
    accelerator = Accelerator(
        cpu=device == "cpu",
        # Modules that the pooling does not read (BERT's own pooler) take no gradient; buffers are constants.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)],
    )
    data = load_data(clone, tokens, vectors, settings, trust_remote_code=trust_remote_code)
    student = Student(clone, settings, accelerator.device, data.prompt_length, trust_remote_code=trust_remote_code)
    Objective(settings.objective).warn_of_free_length(Similarity(ModelInfo.read(clone).similarity))
    made_by = {**settings.model_dump(mode="json"), "seed": seed}
    store = Checkpoints(checkpoints, _fingerprint(made_by, data.inputs, settings.objective))
    run = Run(accelerator, student, data, settings, seed, store, checkpoints)
    facts = run.finish()
    if accelerator.is_main_process:
        with atomic_directory(out) as folder:
            write_student(student, clone, folder)
            (folder / "training.jsonl").write_text(run.metrics.text(), encoding="utf-8")
            seal_directory(folder, Manifest("distilled", made_by, data.inputs, facts))
        store.clear()
    accelerator.wait_for_everyone()


@dataclass(frozen=True)
class Data:
    """What a run reads.

    Attributes:
        train: passages to train on.
        validation: held-out passages; may be empty.
        inputs: digests of everything read.
        prompt_length: tokens of the prompt, for models whose pooling leaves it out.
        sts_dev_set: sentence pairs with human scores that are looked at, too.
    """

    train: Passages
    validation: Passages
    inputs: Mapping[str, Any]
    prompt_length: int | None
    sts_dev_set: StsDevSet | None = None


def load_data(
    clone: Path,
    tokens: Mapping[str, Path],
    vectors: Mapping[str, Sequence[Path]],
    settings: DistillationSettings,
    *,
    trust_remote_code: bool = False,
) -> Data:
    """Open and check everything that a run reads; the arguments are those of :func:`distil`.

    Raises:
        ArtifactError: something is damaged or does not belong to the rest.
        SourceError: the sentence pairs cannot be read.
    """
    read_manifest(clone, "clone")
    tokenizer = tokenizer_digest(clone)
    files = {lang: TokenFile(path) for lang, path in sorted(tokens.items())}
    for lang, file in files.items():
        if file.manifest.inputs["tokenizer"] != tokenizer:
            raise ArtifactError(tokens[lang], f"was not made with the tokenizer of {clone}")
        if file.manifest.made_by["max_length"] != settings.max_length:
            found = file.manifest.made_by["max_length"]
            raise ArtifactError(tokens[lang], f"was cut at {found} tokens, but max_length is {settings.max_length}")
    stores = {lang: VectorStore.open(vectors[lang]) for lang in files}
    inputs: dict[str, Any] = {
        "clone": directory_digest(clone),
        "tokens": {lang: file.manifest.facts["sha256"] for lang, file in files.items()},
        "vectors": {lang: [shard.manifest.facts["sha256"] for shard in store.shards] for lang, store in stores.items()},
    }
    train, validation = (
        Passages(
            {lang: file.split(split) for lang, file in files.items()},
            # The shards are verified by now.
            {lang: VectorStore.open(vectors[lang], split, verify=False) for lang in files},
        )
        for split in TRAINING_SPLITS
    )
    manifest = next(iter(files.values())).manifest
    sts_dev_set = None
    if settings.validation_sts is not None:
        prompt = manifest.made_by["prompt"]
        reading = TeacherSettings(model=str(clone), prompt=prompt, trust_remote_code=trust_remote_code)
        sts_dev_set = load_sts_dev_set(clone, settings.validation_sts, reading, settings.max_length)
        inputs["validation_sts"] = sts_dev_set.digest
    return Data(train, validation, inputs, manifest.facts["prompt_length"], sts_dev_set)


class Run:
    """One training run, from its start or its last checkpoint to its end.

    Args:
        accelerator: knows the other processes.
        student: the model.
        data: what it is trained on.
        settings: how.
        seed: of the order of passages and of dropout.
        store: its checkpoints.
        folder: where the live metrics go.

    Attributes:
        metrics: what was measured so far.

    Raises:
        ConfigError: the settings do not fit the data or the model.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        student: Student,
        data: Data,
        settings: DistillationSettings,
        seed: int,
        store: Checkpoints,
        folder: Path,
    ) -> None:
        check_fit(data, student, settings, accelerator.num_processes)
        self._accelerator, self._student, self._settings = accelerator, student, settings
        self._train, self._store = data.train, store
        self._stream = _stream(data.train, settings, seed)
        self._steps = max(1, math.ceil(settings.epochs * self._stream.epoch_length / settings.batch_size))
        self._phases = plan_phases(settings, self._steps, new_rows=bool(student.new_rows.any()))
        self._current: tuple[Phase, torch.optim.AdamW] | None = None
        self._done = Progressed(micro_batch_tokens=settings.micro_batch_tokens)
        self._best: State | None = None
        with accelerator.main_process_first():
            snapshot = store.load()
        lines = self._take_up(snapshot) if snapshot else ()
        self.metrics = Metrics(folder if accelerator.is_main_process else None, lines, tensorboard=settings.tensorboard)
        objective = Objective(settings.objective)
        self._gradient = BatchGradient(accelerator, student, objective, data.train, self._done.micro_batch_tokens, seed)
        self._validator = (
            Validator(
                accelerator,
                student,
                objective,
                data.validation,
                settings.batch_size,
                settings.validation_passages,
                data.sts_dev_set,
            )
            if len(data.validation)
            else None
        )

    def finish(self) -> dict[str, Any]:
        """Train to the end, leave the kept weights in the student, and return the facts about the run."""
        settings = self._settings
        with Progress("distilling", (self._steps - self._done.step) * settings.batch_size, "passage") as progress:
            if self._done.step == 0:
                self._validate()
            self._student.train(True)
            while self._done.step < self._steps and not self._is_stale():
                loss = self._step()
                if self._done.step % settings.validate_every == 0 or self._done.step == self._steps:
                    self._validate()
                if self._done.step % settings.checkpoint_every == 0 and self._done.step < self._steps:
                    self._save()
                progress.update(settings.batch_size, f"loss {loss:.5f}{self._best_note()}")
        self.metrics.close()
        if self._best is not None:
            self._student.load(self._best)
        return self._facts()

    def _step(self) -> float:
        """Take one step and return its loss."""
        started, step, settings = time.monotonic(), self._done.step, self._settings
        phase, optimizer = self._enter(step)
        rows = self._stream.take(step * settings.batch_size, settings.batch_size)
        terms = self._gradient(rows, step)
        self._student.densify_gradient(phase.trainable)
        norm = torch.nn.utils.clip_grad_norm_(self._student.model.parameters(), settings.clip_norm)
        # The one moment of a step in which the device is waited for.
        values = torch.stack([*terms.values(), norm]).tolist()
        measured: dict[str, float] = dict(zip([*terms, "gradient_norm"], values, strict=True))
        if not all(map(math.isfinite, values)):
            raise self._not_finite(measured, rows)
        rates = set_rates(optimizer, rate_factor(settings, phase, step, self._steps))
        optimizer.step()
        optimizer.zero_grad()
        self._done = replace(self._done, step=step + 1, micro_batch_tokens=self._gradient.budget)
        seconds = time.monotonic() - started
        self.metrics.record(
            step + 1,
            {"epoch": self._epoch(), **measured, "learning_rate": rates},
            {"passages_per_s": len(rows) / seconds, "tokens_per_s": int(self._train.lengths[rows].sum()) / seconds},
        )
        return measured["loss"]

    def _enter(self, step: int) -> tuple[Phase, torch.optim.AdamW]:
        """The phase of a step and its optimiser; every phase starts with moments of its own."""
        phase = phase_at(self._phases, step)
        if self._current is None or self._current[0] != phase:
            self._student.unfreeze(phase.trainable)
            # A distributed wrapper is bound to what takes gradients; the last phase's has to go first.
            self._student.wrap(self._student.model)
            self._accelerator.free_memory()
            self._student.wrap(self._accelerator.prepare_model(self._student.model))
            self._current = phase, make_optimizer(self._student, self._settings)
            _LOG.info("from step %s on: training %s", f"{phase.start:,}", phase.trainable)
        return self._current

    def _validate(self) -> None:
        """Validate, and keep the weights if they are the best so far."""
        if self._validator is None:
            return
        found = self._validator(self._gradient.budget)
        if not math.isfinite(found.overall.loss):
            raise TrainingError(
                f"after step {self._done.step} of {self._steps} the validation loss is {found.overall.loss}: lower "
                "distillation.learning_rate or take precision float32"
            )
        self.metrics.record(self._done.step, {"epoch": self._epoch(), "validation": found.to_json()})
        if self._settings.keep == "last":
            return
        less_is_better = {"loss": found.overall.loss, "cosine": -found.overall.cosine, "sts": -(found.sts or 0.0)}
        value = self._agreed(less_is_better[self._settings.keep])
        if self._done.best_value is None or value < self._done.best_value:
            self._done = replace(self._done, best_step=self._done.step, best_value=value, stale=0)
            self._best = self._student.state()
        else:
            self._done = replace(self._done, stale=self._done.stale + 1)

    def _agreed(self, value: float) -> float:
        """The main process's value, so that all processes decide alike."""
        return float(broadcast_object_list([value])[0])

    def _is_stale(self) -> bool:
        return self._settings.patience is not None and self._done.stale >= self._settings.patience

    def _save(self) -> None:
        if self._accelerator.is_main_process:
            assert self._current is not None
            best = None if self._done.best_step == self._done.step else self._best
            state = optimizer_state(self._current[1], self._student)
            self._store.save(Snapshot(self._done, self._student.state(), state, best, self.metrics.lines))

    def _take_up(self, snapshot: Snapshot) -> list[str]:
        """Go on from a checkpoint; returns its metrics."""
        self._done = snapshot.progressed
        self._student.load(snapshot.model)
        best = snapshot.model if self._done.best_step == self._done.step else snapshot.best
        self._best = None if best is None else dict(best)
        phase, optimizer = self._enter(self._done.step)
        if self._done.step > phase.start:
            load_optimizer_state(optimizer, self._student, snapshot.optimizer)
        _LOG.info("going on from the checkpoint of step %s of %s", f"{self._done.step:,}", f"{self._steps:,}")
        return snapshot.metrics

    def _not_finite(self, measured: Mapping[str, float], rows: Rows) -> TrainingError:
        names = self._train.names(rows)
        _LOG.error("the batch of step %s: %s", f"{self._done.step + 1:,}", ", ".join(names))
        shown = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
        figures = ", ".join(f"{name} {value}" for name, value in measured.items())
        return TrainingError(
            f"step {self._done.step + 1} of {self._steps}: {figures} is not finite. The batch's passages: {shown}. "
            "Lower distillation.learning_rate, or take precision float32, and look at these passages"
        )

    def _facts(self) -> dict[str, Any]:
        looks = {line["step"]: line["validation"] for line in self.metrics.records() if "validation" in line}
        kept = self._done.step if self._best is None else self._done.best_step
        return {
            "planned_steps": self._steps,
            "steps": self._done.step,
            "kept_step": kept,
            "passages": self._done.step * self._settings.batch_size,
            "before": looks.get(0),
            "after": looks.get(kept),
        }

    def _epoch(self) -> float:
        return round(self._done.step * self._settings.batch_size / self._stream.epoch_length, 4)

    def _best_note(self) -> str:
        if self._done.best_value is None:
            return ""
        return f", best {self._settings.keep} {abs(self._done.best_value):.5f} at step {self._done.best_step:,}"


def _stream(train: Passages, settings: DistillationSettings, seed: int) -> Stream:
    sizes = [rows.stop - rows.start for rows in train.languages.values()]
    weights = [settings.language_weights.get(lang, 1.0) for lang in train.languages]
    stream = Stream(sizes, weights, seed)
    if not stream.epoch_length:
        raise ConfigError(
            "distillation.language_weights", f"found {settings.language_weights}: no passage is left to train on"
        )
    return stream


def check_fit(data: Data, student: Student, settings: DistillationSettings, processes: int) -> None:
    """Refuse settings that the data, the model or the number of processes cannot fulfil."""
    known = sorted(data.inputs["tokens"])
    if unknown := sorted(set(settings.language_weights) - set(known)):
        raise ConfigError("distillation.language_weights", f"found {unknown[0]!r}, which is not one of {known}")
    if settings.keep != "last" and not len(data.validation):
        raise ConfigError(
            "distillation.keep",
            f"found {settings.keep!r}, but the validation split is empty; take `last` or raise the validation quotas",
        )
    if settings.batch_size % processes:
        raise ConfigError(
            "distillation.batch_size",
            f"found {settings.batch_size}, which {processes} processes cannot share out; take a multiple",
        )
    found, wanted = student.model.get_embedding_dimension(), data.train.dimension
    if found != wanted:
        raise ConfigError("teacher.model", f"the stored vectors have {wanted} dimensions, the clone's {found}")
    Objective(settings.objective).check_dimension(wanted)


def _fingerprint(made_by: Mapping[str, Any], inputs: Mapping[str, Any], objective: ObjectiveSettings) -> str:
    """SHA-256 of everything that shapes a run: settings, seed, inputs, code and the libraries that compute."""
    shaping = {key: value for key, value in made_by.items() if key not in NON_SEMANTIC_SETTINGS}
    versions = {name: version(name) for name in COMPUTE_LIBRARIES}
    code = [module_digest(name) for name in ("distillation.train", *objective.modules())]
    parts = [shaping, dict(inputs), code, versions]
    return sha256_bytes(canonical_json(parts).encode())
