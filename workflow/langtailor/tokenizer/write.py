"""Writing the tokenizer of a chosen vocabulary: every file that names a token or an id, and the certificate."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from langtailor.errors import ArtifactError
from langtailor.models.folder import ModelInfo
from langtailor.models.prompts import all_prompts
from langtailor.storage.artifacts import (
    Manifest,
    atomic_directory,
    directory_digest,
    read_manifest,
    seal_directory,
    write_json,
)
from langtailor.storage.digests import sha256_file
from langtailor.storage.json_files import format_json, load_json_object
from langtailor.storage.tables import VOCABULARY, read_table
from langtailor.surgery.base import Family, Layout
from langtailor.surgery.registry import load_family
from langtailor.tokenizer.agreement import LibraryReading
from langtailor.tokenizer.certificate import certify
from langtailor.vocabulary.table import table_to_layout

_LOG = logging.getLogger("langtailor")
#: Files and folders of a tokenizer that name no ids.
_COPIED = ("chat_template.jinja", "chat_template.json", "additional_chat_templates")
_TOKEN_LISTS = ("additional_special_tokens", "extra_special_tokens")


def write_tokenizer(
    teacher: Path,
    vocabulary: Path,
    corpora: Mapping[str, Path],
    targets: Sequence[str],
    out: Path,
    *,
    prompts: Sequence[str] = (),
    trust_remote_code: bool = False,
) -> None:
    """Write the tokenizer of a vocabulary and certify it.

    Args:
        teacher: the teacher (kind ``teacher``).
        vocabulary: the chosen tokens (kind ``vocabulary``).
        corpora: ``corpus/{lang}.parquet`` by language; the validation split is read.
        targets: the languages that the grafts are for.
        out: the tokenizer (kind ``tokenizer``): a complete folder for transformers, with ``certificate.json``.
        prompts: prompts that the configuration writes out, certified along with the model's own.
        trust_remote_code: run Python code that comes with the teacher.

    Raises:
        ArtifactError: an input is damaged, or the vocabulary was chosen for another teacher.
        CertificateError: the new tokenizer breaks a promise; then nothing is written.
        UnsupportedTokenizerError: the teacher's tokenizer is of no supported family.
    """
    _LOG.info("writing the tokenizer")
    read_manifest(teacher, "teacher")
    layout = table_to_layout(read_table(vocabulary, "vocabulary", VOCABULARY)[0])
    family = load_family(teacher)
    _check_origin(family, layout, vocabulary)
    with atomic_directory(out) as folder:
        write_files(family, layout, teacher, folder)
        reading = LibraryReading(teacher, all_prompts(ModelInfo.read(teacher), prompts), trust_remote_code)
        certificate = certify(reading, family, layout, folder, corpora, targets)
        write_json(folder / "certificate.json", "certificate", certificate)
        inputs = {"teacher": directory_digest(teacher), "vocabulary": sha256_file(vocabulary)}
        facts = {key: certificate[key] for key in ("size", "kept", "grafted", "padding")}
        seal_directory(folder, Manifest("tokenizer", {"family": family.name}, inputs, facts))
    _LOG.info(
        "tokenizer (%s): %s of %s teacher tokens kept, %s new ones, %s padding; certificate holds",
        family.name,
        *(f"{n:,}" for n in (facts["kept"], len(family.tokens), facts["grafted"], facts["padding"])),
    )


def write_files(family: Family, layout: Layout, teacher: Path, folder: Path) -> None:
    """Write every tokenizer file that the teacher has, for the new vocabulary.

    Args:
        family: the teacher's tokenizer.
        layout: the new vocabulary.
        teacher: the teacher's folder.
        folder: an existing folder.
    """
    files = family.write(layout)
    written = {"tokenizer.json": format_json(files.tokenizer), **files.others}
    written |= dict(_side_files(family, layout, files.tokenizer, teacher))
    for name, data in written.items():
        (folder / name).write_bytes(data)
    for name in _COPIED:
        if (teacher / name).is_dir():
            shutil.copytree(teacher / name, folder / name)
        elif (teacher / name).is_file():
            shutil.copyfile(teacher / name, folder / name)


def _side_files(family: Family, layout: Layout, spec: Mapping[str, Any], teacher: Path) -> Iterator[tuple[str, bytes]]:
    """The files that repeat parts of ``tokenizer.json``, where the teacher has them."""
    new_id = layout.new_id
    dropped = {token for token in family.tokens if token is not None and token not in new_id}
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (teacher / name).is_file():
            yield name, format_json(_without(load_json_object(teacher / name), dropped, new_id))
    if (teacher / "added_tokens.json").is_file():
        added = sorted(new_id.keys() & load_json_object(teacher / "added_tokens.json").keys(), key=new_id.__getitem__)
        yield "added_tokens.json", format_json({token: new_id[token] for token in added})
    if (teacher / "vocab.json").is_file() and "merges" in spec["model"]:
        yield "vocab.json", json.dumps(spec["model"]["vocab"], ensure_ascii=False).encode()
    if (teacher / "merges.txt").is_file() and "merges" in spec["model"]:
        merges = (merge if isinstance(merge, str) else " ".join(merge) for merge in spec["model"]["merges"])
        yield "merges.txt", "".join(f"{line}\n" for line in ("#version: 0.2", *merges)).encode()


def _without(config: Mapping[str, Any], dropped: set[str], new_id: Mapping[str, int]) -> dict[str, Any]:
    """A tokenizer config without the dropped tokens and with the new ids of the others."""
    new: dict[str, Any] = {}
    for key, value in config.items():
        if key == "added_tokens_decoder":
            entries = [entry for entry in value.values() if entry["content"] in new_id]
            new[key] = {str(new_id[e["content"]]): e for e in sorted(entries, key=lambda e: new_id[e["content"]])}
        elif key in _TOKEN_LISTS and isinstance(value, list):
            new[key] = [member for member in value if _content(member) not in dropped]
        elif key in _TOKEN_LISTS and isinstance(value, Mapping):
            new[key] = {name: member for name, member in value.items() if _content(member) not in dropped}
        elif key.endswith("_token") and _content(value) in dropped:
            continue
        else:
            new[key] = value
    return new


def _content(entry: Any) -> str | None:
    """The token that a config entry names: a string, or an added token as a mapping."""
    content = entry.get("content") if isinstance(entry, Mapping) else entry
    return content if isinstance(content, str) else None


def _check_origin(family: Family, layout: Layout, vocabulary: Path) -> None:
    for token, i in zip(layout.tokens, layout.teacher_ids.tolist(), strict=True):
        if i >= 0 and (i >= len(family.tokens) or family.tokens[i] != token):
            raise ArtifactError(vocabulary, f"gives teacher id {i} to {token!r}, which the teacher does not")
