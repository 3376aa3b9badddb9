"""Templates of Markdown pages, and how what others wrote is put into them."""

from __future__ import annotations

import re

import jinja2

#: What Markdown or a table's row would take for markup.
_MARKUP = re.compile(r"[\\`*\[\]<>|~]")


def markdown_template(package: str, name: str) -> jinja2.Template:
    """A Markdown template in a folder of the package, named as a module; every name must be given.

    Nothing is escaped by itself. The filter ``text`` makes plain text of a value, ``code`` a code span, ``fenced`` a block.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package, "."),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,
    )
    environment.filters |= {"text": plain_text, "code": code_span, "fenced": fenced}
    return environment.get_template(name)


def plain_text(value: str) -> str:
    """A value on one line, as text, whatever markup it holds."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(value.replace("&", "&amp;").split()))


def code_span(value: str) -> str:
    """A value on one line as code (https://spec.commonmark.org/0.31.2/#code-spans)."""
    line = re.sub(r"\s", " ", value)
    fence = "`" * (_longest_run(line) + 1)
    padding = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{padding}{line}{padding}{fence}"


def fenced(value: str, language: str) -> str:
    """Lines as a block of code, which nothing in them ends."""
    fence = "`" * max(3, _longest_run(value) + 1)
    return f"{fence}{language}\n{value.strip()}\n{fence}"


def _longest_run(value: str) -> int:
    """Most backticks in a row."""
    return max(map(len, re.findall("`+", value)), default=0)
