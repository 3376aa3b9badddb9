"""Training the student on stored token ids and stored teacher vectors; the teacher itself is never loaded.

A step takes ``batch_size`` passages, whose gradient is exactly that of the objective on the whole batch, whatever the
number of micro-batches and processes, and AdamW applies it. Killed at any moment, a run resumes from its last checkpoint;
on a CPU it ends in the same bits as an uninterrupted one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelerate import Accelerator, DistributedDataParallelKwargs

from langtailor.config.distillation import NON_SEMANTIC_SETTINGS, DistillationSettings, ObjectiveSettings
from langtailor.distillation.checkpoints import Checkpoints
from langtailor.distillation.data import CandidateFile, Data, load_data
from langtailor.distillation.hidden_states import WholeClone
from langtailor.distillation.objective import Objective
from langtailor.distillation.run import Run
from langtailor.distillation.student import Student, write_student
from langtailor.distillation.views import check_views, open_views, tracking
from langtailor.models.folder import ModelInfo
from langtailor.models.libraries import COMPUTE_LIBRARIES, versions_of
from langtailor.models.similarity import Similarity
from langtailor.storage.artifacts import Manifest, atomic_directory, canonical_json, seal_directory
from langtailor.storage.code_digest import module_digest
from langtailor.storage.digests import sha256_bytes

_LOG = logging.getLogger("langtailor")


@dataclass(frozen=True)
class Training:
    """What is trained, on what and how, and where the result goes.

    Attributes:
        clone: the model to start from: a clone (kind ``clone``), or one that is trained already (kind ``distilled``).
        tokens: token file by language, made with the clone's tokenizer and ``settings.max_length``.
        vectors: vector shards by language, in order.
        settings: the objective and the training schedule.
        seed: of the order of passages and of dropout.
        checkpoints: folder of this run's checkpoints and live metrics. An interrupted run with the same inputs and
            settings resumes from there; the checkpoints are removed once ``out`` is written.
        out: the trained model (kind ``distilled``): the clone's files with new weights, and ``training.jsonl``. Its
            facts give ``steps`` done of ``planned_steps``, ``kept_step``, and the validations ``before`` and ``after``
            (that of the student), each with ``loss`` and ``cosine`` over all and by language, and ``interpolation``, the
            share of the training that it keeps, of ``interpolations``.
        whole: the clone with all layers, where the objective compares hidden states.
        candidates: in retrieval, those of queries and documents, which there take the place of languages.
        title: what the trackers of ``settings.report_to`` call this training.
        prompt: put before the sentences of ``settings.validation_sts``: the name of one of the model's prompts, or the prompt
            itself.
        trust_remote_code: run Python code that comes with the model.
    """

    clone: Path
    tokens: Mapping[str, Path]
    vectors: Mapping[str, Sequence[Path]]
    settings: DistillationSettings
    seed: int
    checkpoints: Path
    out: Path
    whole: WholeClone | None = None
    candidates: Mapping[str, CandidateFile] = field(default_factory=dict)
    title: str = "training"
    prompt: str | None = None
    trust_remote_code: bool = False

    def data(self) -> Data:
        """Open and check what it reads; see :func:`~langtailor.distillation.data.load_data`."""
        return load_data(
            *(self.clone, self.tokens, self.vectors, self.settings, self.candidates),
            prompt=self.prompt,
            trust_remote_code=self.trust_remote_code,
            whole=self.whole,
        )


def distil(training: Training, device: str) -> None:
    """Train a model to give the teacher's vectors.

    Runs in one process, or in each of several that ``accelerate launch`` or ``torchrun`` started.

    Args:
        training: what is trained, on what and how.
        device: ``cpu`` or ``cuda``.

    Raises:
        ArtifactError: an input is damaged or the inputs do not belong together.
        ConfigError: the settings do not fit the data or the model, or a package that shows the metrics is missing.
        SourceError: the STS dev set cannot be read.
        TrainingError: the loss is not finite, or a single passage does not fit into memory.
    """
    clone, settings = training.clone, training.settings
    check_views(settings)
    accelerator = Accelerator(
        cpu=device == "cpu",
        # Only what the settings say, whatever a launcher put into the environment.
        mixed_precision="no",
        **tracking(settings, training.checkpoints),
        # Modules that the pooling does not read (BERT's own pooler) take no gradient; buffers are constants.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)],
    )
    data, trust = training.data(), training.trust_remote_code
    student = Student(
        clone, settings, accelerator.device, data.prompt_length, trust_remote_code=trust, whole=training.whole
    )
    Objective(settings.objective).warn_of_free_length(Similarity(ModelInfo.read(clone).similarity))
    made_by = {**settings.model_dump(mode="json", exclude=set(NON_SEMANTIC_SETTINGS)), "seed": training.seed}
    store = Checkpoints(training.checkpoints, _fingerprint(made_by, data.inputs, settings.objective))
    with open_views(accelerator, settings, training.checkpoints, training.title, made_by) as views:
        run = Run(accelerator, student, data, settings, training.seed, store, training.checkpoints, views)
        try:
            facts = run.finish()
        finally:
            store.wait()
    if accelerator.is_main_process:
        _LOG.info("writing the student")
        with atomic_directory(training.out) as folder:
            write_student(student, clone, folder)
            (folder / "training.jsonl").write_text(run.metrics.text(), encoding="utf-8")
            seal_directory(folder, Manifest("distilled", made_by, data.inputs, facts))
        store.clear()
        losses = [f"{facts[when]['loss']:.5f} {when} training" for when in ("before", "after") if facts[when]]
        _LOG.info("%s", ", ".join([f"step {facts['kept_step']:,} is kept", *losses]))
    accelerator.wait_for_everyone()


def _fingerprint(made_by: Mapping[str, Any], inputs: Mapping[str, Any], objective: ObjectiveSettings) -> str:
    """SHA-256 of everything that shapes a run: settings, seed, inputs, code and the libraries that compute."""
    versions = versions_of(COMPUTE_LIBRARIES)
    code = [module_digest(name) for name in ("distillation.train", *objective.modules())]
    parts = [dict(made_by), dict(inputs), code, versions]
    return sha256_bytes(canonical_json(parts).encode())
