"""Runs of Snakemake in children of a server that has imported it already: importing takes longer than planning."""

import multiprocessing
import os
import sys
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory

_SERVER = multiprocessing.get_context("forkserver")
# Nothing of langtailor: the workflow that is planned may be a copy with another one.
_SERVER.set_forkserver_preload(["snakemake.cli", "jsonschema", "pandas", "pyarrow.parquet", "pydantic"])


def dry_run(arguments: Sequence[str], timeout: float = 120) -> tuple[int, str]:
    """Exit code and output of ``snakemake -n`` with these arguments."""
    return run(["-n", *arguments], timeout)


def run(arguments: Sequence[str], timeout: float = 600) -> tuple[int, str]:
    """Exit code and output of ``snakemake`` with these arguments."""
    with TemporaryDirectory() as folder:
        output = Path(folder) / "output"
        process = start(arguments, output)
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"snakemake {' '.join(arguments)} took over {timeout} s")
        return process.exitcode, output.read_text(encoding="utf-8")


def start(arguments: Sequence[str], output: Path) -> BaseProcess:
    """Start ``snakemake`` with these arguments, in a session of its own; what it and its jobs say goes to ``output``."""
    process = _SERVER.Process(target=_snakemake, args=(list(arguments), output))
    process.start()
    return process


def _snakemake(arguments: list[str], output: Path) -> None:
    os.setsid()
    with output.open("wb") as stream:
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
    from snakemake import cli

    sys.argv = ["snakemake", *arguments]
    cli.main(arguments)
