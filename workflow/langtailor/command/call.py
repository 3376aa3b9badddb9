"""Calls of Snakemake, which runs as a program of its own and is not imported."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from langtailor.errors import LangtailorError

_PACKAGE = Path(__file__).parents[1]


def repository() -> Path:
    """Folder with ``Snakefile``, ``workflow/``, ``config/`` and ``profiles/``: in an installed package, or the checkout."""
    installed = _PACKAGE / "_repository"
    return installed if installed.is_dir() else _PACKAGE.parents[1]


def snakemake_call(
    config: Path, arguments: Sequence[str] = (), *, profile: str | None = None, dry_run: bool = False
) -> list[str]:
    """The call that runs a configuration.

    Args:
        config: the configuration.
        arguments: further arguments of Snakemake; of a repeated option the last one counts.
        profile: one of the workflow's profiles by its name, or a profile of Snakemake's. It says how many jobs run at
            a time; without one, they have all cores.
        dry_run: show the jobs and run none.

    Raises:
        LangtailorError: there is no such configuration.
    """
    call = [sys.executable, "-m", "snakemake", "--snakefile", str(repository() / "Snakefile")]
    call += ["--configfile", str(existing(config))]
    call += ["--cores", "all"] if profile is None else ["--profile", _profile(profile)]
    return [*call, *(["--dry-run"] if dry_run else []), *arguments]


def existing(config: Path) -> Path:
    """A configuration that is there.

    Raises:
        LangtailorError: it is not.
    """
    if not config.is_file():
        raise LangtailorError(
            f"{config}: there is no such file; `langtailor init --target {shlex.quote(str(config))}` writes one"
        )
    return config


def execute(call: list[str]) -> NoReturn:
    """Print a call and become it, so that its signals and its exit code are this process's."""
    print(shlex.join(call), flush=True)
    os.execv(call[0], call)


def _profile(name: str) -> str:
    own = repository() / "profiles" / name
    return str(own) if own.is_dir() and not Path(name).exists() else name
