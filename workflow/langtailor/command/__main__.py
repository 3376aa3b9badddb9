"""The command line of ``langtailor``; ``python -m langtailor.command`` without installation."""

from __future__ import annotations

import argparse
import shlex
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from langtailor import __version__
from langtailor.command.call import execute, existing, snakemake_call
from langtailor.command.init import QUESTIONS, Choices, answers_to, write_configuration
from langtailor.errors import LangtailorError
from langtailor.planning.configuration import read_settings

_EPILOG = "Arguments after -- are passed to Snakemake: langtailor run my.yaml -- tokenizer --cores 4"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; ``plan`` and ``run`` become Snakemake instead."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    end = given.index("--") if "--" in given else len(given)
    parser = _parser()
    options = parser.parse_args(given[:end])
    options.further = given[end + 1 :]
    if options.further and options.do in (init, open_report):
        parser.error(f"no arguments are passed to Snakemake here; found {' '.join(options.further)} after --")
    try:
        options.do(options)
    except LangtailorError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (EOFError, KeyboardInterrupt):
        return 130
    return 0


def init(options: argparse.Namespace) -> None:
    """Write a first configuration, and print the next commands."""
    answers = answers_to(QUESTIONS, vars(options), input if sys.stdin.isatty() else None)
    choices = Choices.of(answers, options.prompt, options.text)
    write_configuration(choices)
    file = shlex.quote(str(choices.target))
    print(f"wrote {choices.target}. Next:\n  langtailor plan {file}\n  langtailor run {file}")


def plan(options: argparse.Namespace) -> None:
    """Show the jobs of a run."""
    execute(snakemake_call(options.config, options.further, profile=options.profile, dry_run=True))


def run(options: argparse.Namespace) -> None:
    """Run, or resume a run that stopped."""
    execute(snakemake_call(options.config, options.further, profile=options.profile))


def open_report(options: argparse.Namespace) -> None:
    """Print the path of the report, and open it in a browser."""
    report = (read_settings(existing(options.config)).root / "report.html").absolute()
    if not report.is_file():
        file = shlex.quote(str(options.config))
        raise LangtailorError(f"{report}: there is no report yet; make it with `langtailor run {file}`")
    print(report)
    webbrowser.open(report.as_uri())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="langtailor", description="Tailor a sentence-embedding model to the languages you keep.", epilog=_EPILOG
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_init(commands.add_parser("init", help="write a first configuration; asks for missing options"))
    for name, do, purpose in (("plan", plan, "show the jobs of a run"), ("run", run, "run, or resume")):
        command = commands.add_parser(name, help=purpose, description=f"{purpose}.", epilog=_EPILOG)
        command.add_argument("config", type=Path, metavar="CONFIG", help="the YAML file")
        command.add_argument(
            "--profile", help="profile of the machine: gpu, gpus, slurm, ..., or a folder with your own"
        )
        command.set_defaults(do=do)
    command = commands.add_parser("open", help="show the report of a run in a browser")
    command.add_argument("config", type=Path, metavar="CONFIG", help="the YAML file")
    command.set_defaults(do=open_report)
    return parser


def _add_init(command: argparse.ArgumentParser) -> None:
    for question in QUESTIONS:
        default = f" (default: {question.default})" if question.default else ""
        command.add_argument(f"--{question.option}", help=f"{question.text}{default}")
    command.add_argument("--prompt", help="prompt before each text (default: the model's own)")
    command.add_argument("--text", help="file or folder of your text, {lang} for the language (default: Wikipedia)")
    command.set_defaults(do=init)


if __name__ == "__main__":
    sys.exit(main())
