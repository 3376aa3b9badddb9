"""The clone: the teacher with a new vocabulary.

No model is built for it. Tensors that have a row per token are made anew, every other tensor is streamed byte by byte
and proved identical, and every id that a configuration names is put right. At the end teacher and clone are opened and
must give the same vectors for text whose tokens were all kept.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from langtailor.clone.alignment import Links, align_corpora
from langtailor.clone.rows import Mapping as RowMapping
from langtailor.clone.rows import Rows, compose, draw
from langtailor.clone.token_distillation import fit_rows
from langtailor.config.initialisation import InitialisationSettings
from langtailor.errors import ArtifactError, LangtailorError
from langtailor.models.folder import ModelInfo, weight_files
from langtailor.models.loading import load_sentence_transformer
from langtailor.models.safetensors_file import Remake, read_tensor, rewrite_weights, stored_tensors, tensor_digests
from langtailor.models.tokenizer_file import open_tokenizer
from langtailor.models.vocabulary_tensors import COMPUTED_IN, VocabularyTensors, embedding_file, find_vocabulary_tensors
from langtailor.storage import tables
from langtailor.storage.artifacts import (
    MANIFEST_NAME,
    Manifest,
    atomic_directory,
    atomic_file,
    directory_digest,
    read_manifest,
    seal_directory,
    sha256_file,
)
from langtailor.storage.json_files import format_json, load_json_object
from langtailor.surgery.base import Family, Layout
from langtailor.surgery.registry import load_family
from langtailor.surgery.segmentation import segment
from langtailor.vocabulary.table import table_to_layout

_LOG = logging.getLogger("langtailor")
MAPPING_NAME = "mapping.parquet"
_INDEX = "model.safetensors.index.json"
_CONFIGS = ("config.json", "generation_config.json")
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "*.model",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates",
)
_NOT_COPIED = (MANIFEST_NAME, ".snakemake_timestamp", "README.md", "*.safetensors", *_TOKENIZER_FILES)
_NOT_TAKEN = (MANIFEST_NAME, ".snakemake_timestamp", "certificate.json")
#: The final comparison: how many texts, of how many words each, from how many of the most used words.
_TEXTS, _WORDS_EACH, _WORDS = 32, (12, 4, 1), 192
_WORD = re.compile(r" \S+")
#: Same rows, same arithmetic: what two runs of one model may differ by, relative to the largest value.
_TOLERANCE = 1e-4


def clone_model(
    teacher: Path,
    tokenizer: Path,
    vocabulary: Path,
    settings: InitialisationSettings,
    seed: int,
    out: Path,
    *,
    corpora: Mapping[str, Path] | None = None,
    device: str = "cpu",
    trust_remote_code: bool = False,
) -> None:
    """Give the teacher a new vocabulary.

    Args:
        teacher: the teacher (kind ``teacher``).
        tokenizer: the new tokenizer (kind ``tokenizer``).
        vocabulary: the table that the tokenizer was written from.
        settings: how new rows are made.
        seed: seeds the ``random`` method.
        out: the clone (kind ``clone``): a sentence-transformers folder with ``mapping.parquet``. The manifest's facts
            give parameters, bytes and rows ``before`` and ``after``, mean norms of kept and new rows, number and digest
            of the tensors that are identical, and the number of texts that were compared at the end.
        corpora: corpus by language: the method ``aligned`` reads its sentence pairs, token distillation its passages.
        device: ``cpu`` or ``cuda``, for token distillation.
        trust_remote_code: run Python code that comes with the model for that comparison; without, such a model is
            not compared.

    Raises:
        ArtifactError: an input is damaged, or the inputs do not belong together.
        LangtailorError: the model's vocabulary tensors cannot be told apart, or the clone's vectors differ.
    """
    _LOG.info("reading the teacher's embeddings")
    read_manifest(teacher, "teacher")
    table, _ = tables.read_table(vocabulary, "vocabulary", tables.VOCABULARY)
    _check_origin(read_manifest(tokenizer, "tokenizer"), teacher, tokenizer, vocabulary)
    layout, family, where = table_to_layout(table), load_family(teacher), find_vocabulary_tensors(teacher)
    embeddings = where.read_embeddings()
    corpora = (corpora or {}) if settings.reads_corpus else {}
    links = None
    if settings.method == "aligned":
        links = align_corpora(corpora, teacher, tokenizer, len(layout), where.rows)
    _LOG.info("composing the rows of the new table")
    mapping = _mapping(table, layout, family, embeddings, settings, links)
    fresh = np.flatnonzero([token in layout.grafts for token in layout.tokens])
    drawn = fresh if settings.method == "random" else fresh[:0]
    del embeddings
    with atomic_directory(out) as folder:
        shutil.copytree(teacher, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_NOT_COPIED))
        shutil.copytree(tokenizer, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_NOT_TAKEN))
        _LOG.info("writing the clone")
        identical = _write_weights(teacher, folder, where, partial(_new_table, mapping, drawn, seed), len(layout))
        _write_configs(folder, layout, where.rows)
        _write_mapping(folder / MAPPING_NAME, mapping, fresh)
        fitted: dict[str, Any] = {}
        if settings.token_distillation.steps and len(fresh):
            fit = fit_rows(
                teacher,
                folder,
                fresh,
                corpora,
                settings.token_distillation,
                seed,
                device=device,
                trust_remote_code=trust_remote_code,
            )
            _replace_rows(folder, where, fresh, fit.rows)
            fitted = {"token_distillation": {"before": fit.before, "after": fit.after, "passages": fit.passages}}
        facts = {
            **_sizes(teacher, folder),
            **_norms(folder, where, layout, fresh),
            "embedding": where.embedding,
            "identical_tensors": len(identical),
            "identical_sha256": _digest(identical),
            "compared_texts": _compare(teacher, folder, family, table, trust_remote_code),
            **fitted,
        }
        made_by = settings.model_dump(mode="json") | {"seed": seed}
        inputs: dict[str, Any] = {
            "teacher": directory_digest(teacher),
            "tokenizer": directory_digest(tokenizer),
            "vocabulary": sha256_file(vocabulary),
        }
        if corpora:
            inputs["corpora"] = {lang: sha256_file(path) for lang, path in corpora.items()}
        seal_directory(folder, Manifest("clone", made_by, inputs, facts))
    _LOG.info(
        "clone: %s -> %s parameters, %s -> %s rows, %d other tensors identical, %d texts give the teacher's vectors",
        *(f"{facts[key][when]:,}" for key in ("parameters", "rows") for when in ("before", "after")),
        len(identical),
        facts["compared_texts"],
    )


def _check_origin(made: Manifest, teacher: Path, tokenizer: Path, vocabulary: Path) -> None:
    for name, digest, path in (
        ("teacher", directory_digest(teacher), teacher),
        ("vocabulary", sha256_file(vocabulary), vocabulary),
    ):
        if made.inputs.get(name) != digest:
            raise ArtifactError(tokenizer, f"was not written from {path}")


# -- rows -------------------------------------------------------------------------------------------------------------


def _mapping(
    table: pa.Table,
    layout: Layout,
    family: Family,
    embeddings: torch.Tensor,
    settings: InitialisationSettings,
    links: Links | None,
) -> RowMapping:
    # EmbeddingGemma's <image_soft_token> has an id one past the table. As for padding, there is nothing to copy.
    teacher_ids = np.where(layout.teacher_ids < len(embeddings), layout.teacher_ids, np.int32(-1))
    grafts = [token for token in layout.tokens if token in layout.grafts]
    pieces = dict(zip(grafts, segment(family.spec, grafts), strict=True))
    if silent := [token for token in grafts if not pieces[token]]:
        raise LangtailorError(f"the teacher has no piece for the new token {silent[0]!r}; choose another donor")
    special = np.array([origin == "special" for origin in table["origin"].to_pylist()])
    ordinary = np.flatnonzero((teacher_ids >= 0) & ~special)
    if not len(ordinary) and settings.method in ("norm-matched", "similarity", "aligned"):
        raise LangtailorError(f"initialisation.method {settings.method!r} needs kept tokens besides the special ones")
    without = [layout.tokens[row] for row in np.flatnonzero(teacher_ids < 0)]
    return compose(
        teacher_ids,
        [pieces.get(token, ()) for token in without],
        _characters(family, {i for ids in pieces.values() for i in ids}, len(embeddings)),
        ordinary,
        embeddings,
        settings,
        links,
    )


def _characters(family: Family, ids: set[int], rows: int) -> NDArray[np.int64]:
    """Characters of these teacher tokens without the space before a word, 1 for a part of one; by teacher id."""
    used = sorted(ids)
    surfaces = family.surfaces([family.tokens[i] or "" for i in used])
    characters = np.ones(rows, np.int64)
    characters[used] = [max(len((surface or "").strip()), 1) for surface in surfaces]
    return characters


def _new_table(mapping: RowMapping, drawn: Rows, seed: int, old: torch.Tensor) -> torch.Tensor:
    new = mapping.apply(old)
    if len(drawn):
        draw(new, drawn, old, seed)
    return new


def _write_mapping(path: Path, mapping: RowMapping, fresh: Rows) -> None:
    """Write the mapping; its manifest says which rows are new, as ranges ``[first, last]``."""
    offsets = pa.array(mapping.offsets.astype(np.int32))
    columns = [
        pa.array(np.arange(len(mapping), dtype=np.int32)),
        pa.ListArray.from_arrays(offsets, pa.array(mapping.teacher_ids)),
        pa.ListArray.from_arrays(offsets, pa.array(mapping.weights)),
    ]
    runs = np.split(fresh, np.flatnonzero(np.diff(fresh) > 1) + 1) if len(fresh) else []
    facts = {"new_rows": [[int(run[0]), int(run[-1])] for run in runs]}
    tables.write_table(path, pa.table(columns, schema=tables.MAPPING), Manifest("mapping", facts=facts))


# -- files ------------------------------------------------------------------------------------------------------------


def _write_weights(teacher: Path, folder: Path, where: VocabularyTensors, remake: Remake, rows: int) -> dict[str, str]:
    """Write every weight file; returns the digest of each tensor that was copied, by file and name."""
    identical = {}
    for source in weight_files(teacher):
        place = source.relative_to(teacher)
        mine = {name: remake for name, file in where.files.items() if file == source}
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        rewrite_weights(source, folder / place, rows, mine)
        before, after = tensor_digests(source), tensor_digests(folder / place)
        for name in before.keys() - mine.keys():
            if before[name] != after[name]:
                raise RuntimeError(f"{place}: tensor {name} changed in copying")
            identical[f"{place.as_posix()}:{name}"] = before[name]
    for index in folder.rglob(_INDEX):
        _write_index(index)
    return identical


def _replace_rows(folder: Path, where: VocabularyTensors, rows: Rows, values: torch.Tensor) -> None:
    """Put other values into rows of the clone's input embeddings."""
    file = embedding_file(folder, where.embedding)

    def replaced(table: torch.Tensor) -> torch.Tensor:
        return table.index_copy(0, torch.from_numpy(rows), values.to(table.dtype))

    with atomic_file(file) as temporary:
        rewrite_weights(file, temporary, len(read_tensor(file, where.embedding)), {where.embedding: replaced})


def _write_index(path: Path) -> None:
    """Put the totals of a sharded model's index right; names and files stay as they were."""
    index = load_json_object(path)
    tensors = [t for name in sorted(set(index["weight_map"].values())) for t in stored_tensors(path.parent / name)]
    totals = {"total_size": sum(t.size for t in tensors), "total_parameters": sum(math.prod(t.shape) for t in tensors)}
    metadata = index.get("metadata") or {}
    index["metadata"] = {key: totals.get(key, value) for key, value in metadata.items()}
    path.write_bytes(format_json(index))


def _write_configs(folder: Path, layout: Layout, rows: int) -> None:
    """Put the number of tokens and the ids of special tokens right wherever a configuration names them."""
    new_ids = {old: new for new, old in enumerate(layout.teacher_ids.tolist()) if old >= 0}
    for path in (folder / name for name in _CONFIGS):
        if path.is_file():
            path.write_bytes(format_json(_renumbered(load_json_object(path), new_ids, rows, len(layout), path.name)))


def _renumbered(
    config: Mapping[str, Any], new_ids: Mapping[int, int], rows: int, size: int, place: str
) -> dict[str, Any]:
    """A configuration, and those nested in it, with the new ids and the new size; an id that is gone becomes null."""
    new: dict[str, Any] = {}
    for key, value in config.items():
        here = f"{place}: {key}"
        if isinstance(value, Mapping) and not key.startswith(("vision", "audio")):
            new[key] = _renumbered(value, new_ids, rows, size, here)
        elif key == "vocab_size" and value == rows:
            new[key] = size
        elif re.search(r"_token_(id|index)s?$|suppress_tokens$", key):
            new[key] = _new_ids(value, new_ids, here)
        else:
            new[key] = value
    return new


def _new_ids(value: Any, new_ids: Mapping[int, int], place: str) -> Any:
    if isinstance(value, list):
        found = [_new_ids(member, new_ids, place) for member in value]
        return [member for member in found if member is not None]
    if isinstance(value, int) and value not in new_ids:
        _LOG.warning("%s named token %d, which the new vocabulary does not have: it is null now", place, value)
    return new_ids.get(value) if isinstance(value, int) else value


# -- proof and facts --------------------------------------------------------------------------------------------------


def _compare(teacher: Path, folder: Path, family: Family, table: pa.Table, trust_remote_code: bool) -> int:
    """Encode texts whose tokens were all kept with teacher and clone; returns their number.

    Raises:
        LangtailorError: the vectors differ.
    """
    if "auto_map" in load_json_object(folder / "config.json") and not trust_remote_code:
        _LOG.warning("%s: not compared with the teacher, because the model brings Python code of its own", folder)
        return 0
    texts = list(_retained_texts(teacher, folder, family, table))
    if not texts:
        _LOG.warning("%s: not compared with the teacher, because no text of kept tokens was found", folder)
        return 0
    _LOG.info("comparing the vectors of %d texts with the teacher's", len(texts))
    expected, found = (_encode(model, texts, trust_remote_code) for model in (teacher, folder))
    worst = float(np.abs(expected - found).max() / np.abs(expected).max())
    if not worst <= _TOLERANCE:
        raise LangtailorError(
            f"{folder}: the clone's vectors differ from the teacher's by {worst:.2g} for text whose tokens were all "
            "kept. Its architecture depends on token ids in a way that is not known here; choose another teacher"
        )
    return len(texts)


def _retained_texts(teacher: Path, folder: Path, family: Family, table: pa.Table) -> Iterator[str]:
    """Texts of much used words that teacher and clone write with the same, kept tokens."""
    rows = table.filter(pc.is_valid(table["teacher_id"])).sort_by([("count", "descending"), ("new_id", "ascending")])
    words = [text for text in family.surfaces(rows["token"].to_pylist()) if text and _WORD.fullmatch(text)][:_WORDS]
    texts = ("".join(words[i : i + n]).strip() for n in _WORDS_EACH for i in range(0, len(words), n))
    new_id = dict(zip(rows["teacher_id"].to_pylist(), rows["new_id"].to_pylist(), strict=True))
    old, new = (open_tokenizer(model) for model in (teacher, folder))
    same = (text for text in texts if [new_id.get(i) for i in old.encode(text).ids] == new.encode(text).ids)
    yield from islice(same, _TEXTS)


def _encode(model: Path, texts: list[str], trust_remote_code: bool) -> NDArray[np.float32]:
    dtype = next(
        COMPUTED_IN[t.dtype] for file in weight_files(model) for t in stored_tensors(file) if t.dtype in COMPUTED_IN
    )
    opened = load_sentence_transformer(model, "cpu", dtype, trust_remote_code=trust_remote_code)
    vectors = opened.encode(texts, prompt="", convert_to_tensor=True, show_progress_bar=False)
    return np.asarray(vectors.float().numpy(), dtype=np.float32)


def _sizes(teacher: Path, folder: Path) -> dict[str, dict[str, int]]:
    before, after = ModelInfo.read(teacher), ModelInfo.read(folder)
    return {
        "parameters": {"before": before.parameters, "after": after.parameters},
        "bytes": {"before": before.weight_bytes, "after": after.weight_bytes},
        "rows": {"before": before.vocabulary_size, "after": after.vocabulary_size},
    }


def _norms(folder: Path, where: VocabularyTensors, layout: Layout, fresh: Rows) -> dict[str, Any]:
    """Numbers and mean norms of kept and of new rows."""
    table = read_tensor(embedding_file(folder, where.embedding), where.embedding)
    kept = np.flatnonzero((layout.teacher_ids >= 0) & (layout.teacher_ids < where.rows))
    parts = {"kept": kept, "new": fresh}
    return {name: {"rows": len(rows), "mean_norm": _mean_norm(table, rows)} for name, rows in parts.items()}


def _mean_norm(table: torch.Tensor, rows: Rows) -> float | None:
    if not len(rows):
        return None
    norms = torch.linalg.vector_norm(table[torch.from_numpy(rows)], dim=1, dtype=torch.float32)
    return round(float(norms.double().mean()), 6)


def _digest(identical: Mapping[str, str]) -> str:
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(identical.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
