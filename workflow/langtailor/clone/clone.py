"""The clone: the teacher with a new vocabulary.

No model is built for it. Tensors that have a row per token are made anew, every other tensor is copied byte by byte and
checked to be identical, and every id in a configuration is updated. At the end teacher and clone are loaded and must
give the same vectors for text whose tokens were all kept.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from langtailor.clone.alignment import Links, align_corpora
from langtailor.clone.composition import map_rows, new_table, write_mapping
from langtailor.clone.files import replace_rows, write_configs, write_weights
from langtailor.clone.learned import learn_rows
from langtailor.clone.rows import Rows
from langtailor.clone.token_distillation import fit_rows
from langtailor.clone.verification import compare_with_teacher
from langtailor.config.initialisation import InitialisationSettings
from langtailor.errors import ArtifactError
from langtailor.models.folder import ModelInfo
from langtailor.models.prompts import find_prompt
from langtailor.models.safetensors_file import read_tensor
from langtailor.models.tokenizer_file import TOKENIZER_FILES
from langtailor.models.vocabulary_tensors import VocabularyTensors, embedding_file, find_vocabulary_tensors
from langtailor.storage import tables
from langtailor.storage.artifacts import (
    MANIFEST_NAME,
    SNAKEMAKE_MARK,
    Manifest,
    atomic_directory,
    directory_digest,
    read_manifest,
    seal_directory,
)
from langtailor.storage.digests import sha256_file
from langtailor.storage.tables import MAPPING_NAME
from langtailor.surgery.base import Family, Layout
from langtailor.surgery.registry import load_family
from langtailor.vocabulary.table import table_to_layout

_LOG = logging.getLogger("langtailor")
_NOT_COPIED = (MANIFEST_NAME, SNAKEMAKE_MARK, "README.md", "*.safetensors", *TOKENIZER_FILES)
_NOT_TAKEN = (MANIFEST_NAME, SNAKEMAKE_MARK, "certificate.json")


def clone_model(
    teacher: Path,
    tokenizer: Path,
    vocabulary: Path,
    settings: InitialisationSettings,
    seed: int,
    out: Path,
    *,
    corpora: Mapping[str, Path] | None = None,
    row_trials: Sequence[Mapping[str, Any]] = (),
    prompts: Mapping[str, str | None] | None = None,
    device: str = "cpu",
    trust_remote_code: bool = False,
) -> None:
    """Give a model a new vocabulary.

    Args:
        teacher: the teacher (kind ``teacher``).
        tokenizer: the new tokenizer (kind ``tokenizer``).
        vocabulary: the table that the tokenizer was written from.
        settings: how new rows are made.
        seed: seeds the ``random`` method.
        out: the clone (kind ``clone``): a sentence-transformers folder with ``mapping.parquet``. The manifest's facts
            give parameters, bytes and rows ``before`` and ``after``, mean norms of kept and new rows, number and digest
            of the tensors that were copied, and the number of texts that were compared at the end.
        corpora: corpus by language: ``aligned`` and ``learned`` read its sentence pairs, token distillation its passages.
        row_trials: the trials by which the method was chosen (:mod:`langtailor.evaluation.agreement_rows`), which the manifest
            keeps.
        prompts: put before the passages of token distillation, by language: the name of one of the model's prompts, or the
            prompt itself.
        device: ``cpu`` or ``cuda``, for token distillation.
        trust_remote_code: run Python code that comes with the model for that comparison; without, such a model is
            not compared.

    Raises:
        ArtifactError: an input is damaged, or the inputs do not belong together.
        LangtailorError: the model's vocabulary tensors cannot be identified, or the clone's vectors differ.
    """
    _LOG.info("reading the embeddings")
    inputs = _input_digests(teacher, tokenizer, vocabulary)
    table, _ = tables.read_table(vocabulary, "vocabulary", tables.VOCABULARY)
    layout, family, where = table_to_layout(table), load_family(teacher), find_vocabulary_tensors(teacher)
    made_by = settings.model_dump(mode="json") | {"seed": seed}
    if not layout.grafts:
        settings = InitialisationSettings(method="mean")  # there is no row to make
    corpora = (corpora or {}) if settings.reads_corpus else {}
    links = _links(settings.method, corpora, teacher, tokenizer, len(layout), where.rows)
    _LOG.info("composing the rows of the new table")
    embeddings = where.read_embeddings()
    mapping = map_rows(table, layout, family, embeddings, settings, links)
    new_rows = np.flatnonzero([token in layout.grafts for token in layout.tokens])
    random_rows = new_rows if settings.method == "random" else new_rows[:0]
    with atomic_directory(out) as folder:
        _copy_other_files(teacher, tokenizer, folder)
        _LOG.info("writing the clone")
        copied = write_weights(teacher, folder, where, partial(new_table, mapping, random_rows, seed), len(layout))
        write_configs(folder, layout, where.rows)
        write_mapping(folder / MAPPING_NAME, mapping, new_rows)
        refinement = _Refinement(teacher, folder, where, new_rows, settings, links)
        fitted = refinement.learn(family, layout, embeddings)
        fitted |= refinement.distil(
            corpora, seed, prompts=prompts or {}, device=device, trust_remote_code=trust_remote_code
        )
        facts = {
            **_sizes(teacher, folder),
            **_norms(folder, where, layout, new_rows),
            "embedding": where.embedding,
            "identical_tensors": len(copied),
            "identical_sha256": _digest(copied),
            "compared_texts": compare_with_teacher(teacher, folder, family, table, trust_remote_code),
            "row_trials": list(row_trials),
            **fitted,
        }
        read = {"corpora": {lang: sha256_file(path) for lang, path in corpora.items()}} if corpora else {}
        seal_directory(folder, Manifest("clone", made_by, {**inputs, **read}, facts))
    _LOG.info(
        "clone: %s -> %s parameters, %s -> %s rows, %d other tensors identical, %d texts give the teacher's vectors",
        *(f"{facts[key][when]:,}" for key in ("parameters", "rows") for when in ("before", "after")),
        len(copied),
        facts["compared_texts"],
    )


@dataclass(frozen=True)
class _Refinement:
    """What is done to the rows of new tokens once they are composed. Each step returns the facts about it.

    Attributes:
        teacher: the teacher's folder.
        folder: the clone's.
        where: the tensors with a row a token.
        rows: ids of the new tokens.
        settings: which steps are asked for.
        links: teacher tokens that translate new ones, where the corpus has pairs.
    """

    teacher: Path
    folder: Path
    where: VocabularyTensors
    rows: Rows
    settings: InitialisationSettings
    links: Links | None

    def learn(self, family: Family, layout: Layout, embeddings: torch.Tensor) -> dict[str, Any]:
        """Predict the rows by a map that is learned on the teacher's own tokens.

        A row gets the direction of the learned one plus, as surely as sentence pairs tell its translations, that of its
        links, and keeps its length.
        """
        learned = None
        if self.settings.method == "learned" and len(self.rows):
            learned = learn_rows(family, layout, embeddings)
        if learned is None:
            return {}
        composed = self._composed()
        confidence = np.zeros(len(self.rows)) if self.links is None else self.links.confidence[self.rows]
        share = torch.from_numpy(confidence).float()[:, None]
        lengths = torch.linalg.vector_norm(composed, dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        rows = torch.nn.functional.normalize(learned.rows + share * composed / lengths, dim=1) * lengths
        replace_rows(self.folder, self.where, self.rows, rows)
        facts = {"examples": learned.examples, "cosine": learned.cosine, "cosine_of_means": learned.cosine_of_means}
        return {"learned_rows": facts}

    def distil(
        self,
        corpora: Mapping[str, Path],
        seed: int,
        *,
        prompts: Mapping[str, str | None],
        device: str,
        trust_remote_code: bool,
    ) -> dict[str, Any]:
        """Fit the rows to the teacher's hidden states of passages that have them."""
        if not (self.settings.token_distillation.steps and len(self.rows)):
            return {}
        info = ModelInfo.read(self.teacher)
        fit = fit_rows(
            *(self.teacher, self.folder, self.rows, corpora, self.settings.token_distillation, seed),
            prompts={lang: find_prompt(info, prompt) for lang, prompt in prompts.items()},
            device=device,
            trust_remote_code=trust_remote_code,
        )
        replace_rows(self.folder, self.where, self.rows, fit.rows)
        return {"token_distillation": {"before": fit.before, "after": fit.after, "passages": fit.passages}}

    def _composed(self) -> torch.Tensor:
        table = read_tensor(embedding_file(self.folder, self.where.embedding), self.where.embedding)
        return table[torch.from_numpy(self.rows)].float()


def _input_digests(teacher: Path, tokenizer: Path, vocabulary: Path) -> dict[str, str]:
    """Digests of what the clone is made from.

    Raises:
        ArtifactError: one is damaged, or the tokenizer was not written from the others.
    """
    read_manifest(teacher, "teacher")
    written_from = read_manifest(tokenizer, "tokenizer").inputs
    digests = {"teacher": directory_digest(teacher), "vocabulary": sha256_file(vocabulary)}
    for name, path in {"teacher": teacher, "vocabulary": vocabulary}.items():
        if written_from.get(name) != digests[name]:
            raise ArtifactError(tokenizer, f"was not written from {path}")
    return {**digests, "tokenizer": directory_digest(tokenizer)}


def _links(
    method: str, corpora: Mapping[str, Path], teacher: Path, tokenizer: Path, new_rows: int, teacher_rows: int
) -> Links | None:
    """The teacher's tokens that translate each new one, where the method reads sentence pairs."""
    if method == "agreement":
        raise ValueError("the method has to be chosen first (langtailor.evaluation.agreement_rows)")
    if method not in ("aligned", "learned"):
        return None
    return align_corpora(corpora, teacher, tokenizer, new_rows, teacher_rows, required=method == "aligned")


def _copy_other_files(teacher: Path, tokenizer: Path, folder: Path) -> None:
    """Copy the new tokenizer, and of the teacher what is neither tokenizer nor weights."""
    shutil.copytree(teacher, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_NOT_COPIED))
    shutil.copytree(tokenizer, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_NOT_TAKEN))


def _sizes(teacher: Path, folder: Path) -> dict[str, dict[str, int]]:
    before, after = ModelInfo.read(teacher), ModelInfo.read(folder)
    return {
        "parameters": {"before": before.parameters, "after": after.parameters},
        "bytes": {"before": before.weight_bytes, "after": after.weight_bytes},
        "rows": {"before": before.vocabulary_size, "after": after.vocabulary_size},
    }


def _norms(folder: Path, where: VocabularyTensors, layout: Layout, new_rows: Rows) -> dict[str, Any]:
    """Numbers and mean norms of kept and of new rows."""
    table = read_tensor(embedding_file(folder, where.embedding), where.embedding)
    kept = np.flatnonzero((layout.teacher_ids >= 0) & (layout.teacher_ids < where.rows))
    groups = {"kept": kept, "new": new_rows}
    return {name: {"rows": len(rows), "mean_norm": _mean_norm(table, rows)} for name, rows in groups.items()}


def _mean_norm(table: torch.Tensor, rows: Rows) -> float | None:
    if not len(rows):
        return None
    norms = torch.linalg.vector_norm(table[torch.from_numpy(rows)], dim=1, dtype=torch.float32)
    return round(float(norms.double().mean()), 6)


def _digest(copied: Mapping[str, str]) -> str:
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(copied.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
