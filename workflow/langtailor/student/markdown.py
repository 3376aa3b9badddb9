"""Templates of Markdown pages."""

from __future__ import annotations

import jinja2


def markdown_template(package: str, name: str) -> jinja2.Template:
    """A Markdown template in a folder of the package, named as a module; nothing is escaped, every name must be given."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package, "."),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,
    )
    return environment.get_template(name)
