"""A first configuration, from options and answers."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import yaml

from langtailor.config.teacher import is_local
from langtailor.errors import LangtailorError
from langtailor.planning.configuration import load_settings, run_name

#: Prompt with which the E5 models embed texts for comparison with one another (Wang et al. 2024, arXiv 2402.05672).
_E5 = re.compile(r"\be5-(small|base|large)(-v2)?$")
_E5_PROMPT = "query: "
#: Text that YAML reads as plain text.
_PLAIN = re.compile(r"[\w./-]+")


@dataclass(frozen=True)
class Question:
    """What a configuration needs to know.

    Attributes:
        option: the option that says it.
        text: the question that is asked if the option is missing.
        default: the answer if the user gives none; ``None`` if there must be one.
    """

    option: str
    text: str
    default: str | None = None


QUESTIONS = (
    Question("teacher", "Model to tailor: Hub id or folder", "intfloat/multilingual-e5-small"),
    Question("languages", "Languages to keep, separated by commas (en,tr)"),
    Question("size", "Tokens to keep", "32768"),
    Question("target", "File to write", "langtailor.yaml"),
)


@dataclass(frozen=True)
class Choices:
    """What a first configuration says.

    Attributes:
        teacher: the model to tailor.
        languages: codes of the languages to keep.
        size: tokens to keep.
        target: the file.
        prompt: the teacher's prompt; ``None`` uses the model's default.
        text: file or folder of the text, with ``{lang}`` for the language; ``None`` uses Wikipedia.
    """

    teacher: str
    languages: tuple[str, ...]
    size: int
    target: Path
    prompt: str | None = None
    text: str | None = None

    @classmethod
    def of(cls, answers: Mapping[str, str], prompt: str | None = None, text: str | None = None) -> Choices:
        """Choices from answers by the names of their options.

        Raises:
            LangtailorError: the size is no number, or no language is named.
        """
        teacher, size = answers["teacher"], answers["size"].replace(",", "").replace("_", "")
        if not size.isdecimal():
            raise LangtailorError(f"--size: must be a whole number; found {answers['size']!r}")
        if not is_local(teacher) and Path(teacher).is_dir():
            teacher = f"./{teacher}"
        if prompt is None and _E5.search(teacher):
            prompt = _E5_PROMPT
        languages = tuple(dict.fromkeys(code.strip() for code in answers["languages"].split(",") if code.strip()))
        if not languages:
            raise LangtailorError(f"--languages: found {answers['languages']!r}, which names no language; write en,tr")
        return cls(teacher, languages, int(size), Path(answers["target"]), prompt, text)


def answers_to(
    questions: Sequence[Question], given: Mapping[str, str | None], ask: Callable[[str], str] | None
) -> dict[str, str]:
    """An answer to each question by its option: the given one, else the user's, else the default.

    Args:
        questions: the questions.
        given: the values of the options; ``None`` for a missing one.
        ask: shows a prompt and returns the answer; ``None`` if there is nobody to ask.

    Raises:
        LangtailorError: a question has no answer; names the option.
    """
    answers: dict[str, str] = {}
    for question in questions:
        answer = given.get(question.option)
        if answer is None and ask is not None:
            default = f" [{question.default}]" if question.default else ""
            answer = ask(f"{question.text}{default}: ").strip()
        answer = answer or question.default
        if not answer:
            raise LangtailorError(f"--{question.option} is missing: {question.text}")
        answers[question.option] = answer
    return answers


def configuration_text(choices: Choices) -> str:
    """The configuration, with comments.

    Raises:
        ConfigError: the settings refuse a choice.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("langtailor.command", "."),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["yaml"] = yaml_scalar
    template = environment.get_template("config.yaml.jinja")
    text = template.render(vars(choices) | {"run": run_name(choices.target), "file": shlex.quote(choices.target.name)})
    load_settings(yaml.safe_load(text))
    return text


def write_configuration(choices: Choices) -> None:
    """Write the configuration; an existing file is left alone.

    Raises:
        ConfigError: the settings refuse a choice.
        LangtailorError: the file cannot be written.
    """
    text = configuration_text(choices)
    try:
        with choices.target.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise LangtailorError(f"{choices.target}: already exists; name another file with --target") from error
    except OSError as error:
        raise LangtailorError(f"{choices.target}: cannot be written: {error.strerror}") from error


def yaml_scalar(value: str | None) -> str:
    """A value as YAML on one line, in quotes if it would be read as something else (``no``) or stripped."""
    if value is not None and _PLAIN.fullmatch(value) and yaml.safe_load(value) == value:
        return value
    return (
        "null"
        if value is None
        else yaml.safe_dump(value, default_style='"', allow_unicode=True, width=math.inf).strip()
    )
