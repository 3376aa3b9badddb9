"""What made a run, in one file that a machine can read: ``provenance.json``."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from langtailor import __version__
from langtailor.models.libraries import COMPUTE_LIBRARIES, versions_of
from langtailor.report.stages import read_stages
from langtailor.storage.artifacts import MANIFEST_NAME, directory_digest, read_manifest, write_json
from langtailor.storage.digests import sha256_file
from langtailor.storage.tables import CORPUS, read_table_manifest

_LOG = logging.getLogger("langtailor")
_LIBRARIES = ("snakemake", *COMPUTE_LIBRARIES, "tokenizers", "pyarrow", "numpy")
#: Folders of a run that hold artifacts.
_FOLDERS = (
    "teacher",
    "base",
    "corpus",
    "counts",
    "vocabulary",
    "tokenizer",
    "clone",
    "reduction",
    "distillation",
    "retrieval",
    "vectors",
    "evaluation",
    "export",
)


def versions() -> dict[str, str]:
    """Versions of everything that shapes results."""
    return {**versions_of(_LIBRARIES), "langtailor": __version__, "Python": platform.python_version()}


def write_provenance(root: Path, config: Mapping[str, Any], out: Path) -> None:
    """Record what made the run in ``root``.

    Args:
        root: the run's folder.
        config: its whole configuration, defaults filled in.
        out: the JSON file: ``config``, ``teacher`` (model, revision and the commit that it stood for), ``revisions`` (of
            each language's source), ``versions``, ``artifacts`` (SHA-256 of each existing file, of a folder's manifest),
            ``stages`` (jobs, seconds and memory of each rule, as far as Snakemake measured them) and ``machine`` (that of
            the job that wrote the file).

    Raises:
        ArtifactError: the teacher or a corpus is damaged.
    """
    _LOG.info("hashing the artifacts")
    teacher = read_manifest(root / "teacher" / "model", "teacher", verify=False)
    write_json(
        out,
        "provenance",
        {
            "config": config,
            "teacher": {**teacher.made_by, **teacher.inputs},
            "revisions": {
                path.stem: read_table_manifest(path, "corpus", CORPUS).facts["revision"]
                for path in sorted((root / "corpus").glob("*.parquet"))
            },
            "versions": versions(),
            "artifacts": {path.relative_to(root).as_posix(): digest for path, digest in _artifacts(root)},
            "stages": [asdict(stage) for stage in read_stages(root / "benchmarks")],
            "machine": machine(),
        },
    )
    _LOG.info("%s records what made the run", out)


def machine() -> dict[str, Any]:
    """The machine that this process runs on."""
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": _gpus(),
    }


def _gpus() -> list[str]:
    """Names of NVIDIA's GPUs, as its driver's own tool gives them: torch would take seconds to be imported for this."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    return answer.stdout.splitlines() if answer.returncode == 0 else []


def _processor() -> str:
    """The processor's name on Linux, elsewhere its architecture."""
    description = Path("/proc/cpuinfo")
    lines = description.read_text(encoding="utf-8").splitlines() if description.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _artifacts(root: Path) -> list[tuple[Path, str]]:
    """Every artifact of the run with its digest, in the order of the data."""
    artifacts = []
    for folder in (root / name for name in _FOLDERS):
        sealed = sorted(path.parent for path in folder.rglob(MANIFEST_NAME))
        artifacts += [(path, directory_digest(path)) for path in sealed]
        files = sorted(path for path in folder.rglob("*") if path.suffix in (".parquet", ".arrow", ".json"))
        artifacts += [(path, sha256_file(path)) for path in files if not set(path.parents) & set(sealed)]
    return artifacts
