"""Dry runs in children of a server that has imported Snakemake already: importing takes longer than planning."""

import multiprocessing
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

_SERVER = multiprocessing.get_context("forkserver")
# Nothing of langtailor: the workflow that is planned may be a copy with another one.
_SERVER.set_forkserver_preload(["snakemake.cli", "jsonschema", "pandas", "pyarrow.parquet", "pydantic"])


def dry_run(arguments: Sequence[str], timeout: float = 120) -> tuple[int, str]:
    """Exit code and output of ``snakemake -n`` with these arguments."""
    with TemporaryDirectory() as folder:
        output = Path(folder) / "output"
        process = _SERVER.Process(target=_snakemake, args=(["-n", *arguments], output))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"snakemake -n {' '.join(arguments)} took over {timeout} s")
        return process.exitcode, output.read_text(encoding="utf-8")


def _snakemake(arguments: list[str], output: Path) -> None:
    with output.open("wb") as stream:
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
    from snakemake import cli

    sys.argv = ["snakemake", *arguments]
    cli.main(arguments)
