"""A damaged, cut or swapped artifact is refused by name, and the command in the message rebuilds it and nothing else."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from langtailor.storage.artifacts import Manifest, manifest_in, seal_directory
from langtailor.storage.tables import manifest_of, write_table
from tests.faults.conftest import FaultyRun, without_trace

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


Damage = Callable[[Path, "Kind", Path], None]


@dataclass(frozen=True)
class Kind:
    """A kind of artifact.

    Attributes:
        artifact: the one that is damaged.
        rule: the rule that makes it.
        file: the file of it that is damaged, where it is a folder.
        reader: what the rule that reads it makes.
        other: another language's, where there is one.
    """

    artifact: str
    rule: str
    reader: str
    file: str = ""
    other: str = ""

    def __str__(self) -> str:
        return self.artifact


KINDS = [
    Kind("teacher/model", "fetch_teacher", "counts/tr.parquet", file="model.safetensors"),
    Kind("corpus/documents/tr.parquet", "fetch_documents", "corpus/tr.parquet", other="corpus/documents/en.parquet"),
    Kind("corpus/tr.parquet", "build_corpus", "counts/tr.parquet", other="corpus/en.parquet"),
    Kind("counts/tr.parquet", "count_tokens", "vocabulary/tailored.parquet", other="counts/en.parquet"),
    Kind("vocabulary/tailored.parquet", "select_vocabulary", "tokenizer/tailored"),
    Kind("tokenizer/tailored", "write_tokenizer", "clone/tailored", file="tokenizer.json"),
    Kind("clone/tailored", "clone_model", "distillation/tailored/tokens/tr.arrow", file="model.safetensors"),
    Kind("vectors/0000", "teacher_vectors", "distillation/tailored/model", file="tr/00000.arrow"),
    Kind(
        "distillation/tailored/tokens/tr.arrow",
        "tokenize_corpora",
        "distillation/tailored/model",
        other="distillation/tailored/tokens/en.arrow",
    ),
    Kind("distillation/tailored/model", "distil", "evaluation/tailored/student", file="model.safetensors"),
    Kind("evaluation/tailored/student", "evaluate", "student/tailored", file="agreement.json"),
]


def flip(path: Path, _: Kind, __: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path, _: Kind, __: Path) -> None:
    path.write_bytes(path.read_bytes()[: -path.stat().st_size // 3])


def swap(path: Path, kind: Kind, results: Path) -> None:
    """Put another language's or another configuration's artifact, whole in itself, into the place."""
    if kind.other:
        shutil.copyfile(results / kind.other, path)
    elif kind.file:
        folder = results / kind.artifact
        found = manifest_in(folder)
        seal_directory(folder, Manifest(found.kind, {**found.made_by, "other": True}, found.inputs, found.facts))
    else:
        table = pq.read_table(path)
        found = manifest_of(path, table.schema, "vocabulary")
        write_table(path, table, Manifest(found.kind, {**found.made_by, "other": True}, found.inputs, found.facts))


def jobs(said: str) -> set[str]:
    """Rules of which snakemake has run a job."""
    return set(re.findall(r"^\[(\w+)[^]]*\] finished in ", said, re.MULTILINE))


@pytest.fixture(scope="module")
def damaged(undisturbed, tmp_path_factory) -> FaultyRun:
    return undisturbed.copy(tmp_path_factory.mktemp("damaged"))


def unchanged_time(path: Path, change: Callable[[], None]) -> None:
    """Change a file so that its time does not tell."""
    before = path.stat()
    change()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def refused(run: FaultyRun, kind: Kind, damage: Damage) -> str:
    """Damage an artifact, let the rule that reads it fail, and return what the message says to rebuild."""
    place = run.results / kind.artifact
    unchanged_time(place / kind.file, lambda: damage(place / kind.file, kind, run.results))
    code, said = run.run("--force", f"results/small/{kind.reader}")
    assert code != 0
    assert re.search(rf"error: results/small/{kind.artifact}\S*: ", said), said
    assert without_trace(said)
    command = re.search(r"Rebuild it with `snakemake --cores 1 --force (\S+)`", said)
    assert command, said
    return command[1]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_damage_heals_by_the_command_in_the_message_which_runs_one_rule(damaged, expected, kind):
    code, said = damaged.run("--force", refused(damaged, kind, flip))
    assert code == 0, said
    assert jobs(said) == {kind.rule}
    # What failed has no output now; nothing else is made again.
    code, said = damaged.run(f"results/small/{kind.reader}")
    assert code == 0, said
    assert len(jobs(said)) == 1, said
    assert damaged.digests() == expected


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("damage", [cut, swap], ids=lambda damage: damage.__name__)
def test_what_is_cut_or_swapped_is_refused_by_name(damaged, undisturbed, kind, damage):
    assert refused(damaged, kind, damage) == f"results/small/{kind.artifact}"
    # Of a job that fails Snakemake deletes all outputs.
    written = (
        str(Path(kind.reader).parent)
        if kind.reader.startswith(("counts/", "distillation/tailored/tokens/"))
        else kind.reader
    )
    for name in (kind.artifact, written):
        subprocess.run(["rm", "-rf", damaged.results / name], check=True)
        subprocess.run(["cp", "-a", undisturbed.results / name, damaged.results / name], check=True)
    # Snakemake forgets what it knew about the output of a failed job.
    known = Path(".snakemake") / "metadata"
    shutil.copytree(undisturbed.folder / known, damaged.folder / known, dirs_exist_ok=True)


def test_after_all_repairs_nothing_is_left_to_do(damaged, expected):
    assert damaged.planned() == {}
    assert damaged.digests() == expected
