"""The documentation site (``make docs``).

Sphinx reads the Markdown pages where they stand in the repository, so that one link serves the repository and the site. What
the pages link to and is no page, a recipe say, is copied along. Nothing is fetched, neither here nor by a reader's browser.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import mmdr
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

project = "langtailor"
html_title = project
html_show_copyright = False

extensions = ["myst_parser", "autoapi.extension", "sphinx.ext.napoleon"]
root_doc = "README"
include_patterns = [
    "*.md",
    "config/*.md",
    "docs/*.md",
    "docs/library/**",
    "examples/*.md",
    "examples/*/*.md",
    "profiles/*.md",
]
exclude_patterns = [".*", "benchmarks", "build", "results", "tests", "workflow"]  # not looked into, which saves time
myst_heading_anchors = 4
myst_fence_as_directive = {"mermaid"}

# The library's reference is read from the source: nothing of the library is imported.
autoapi_dirs = [str(ROOT / "workflow" / "langtailor")]
autoapi_root = "docs/library"
autoapi_template_dir = str(HERE / "templates" / "library")
autoapi_options = ["members", "show-inheritance"]
napoleon_use_ivar = True
napoleon_use_rtype = False  # what stands before the colon of "Returns:" is prose here
# AutoAPI does not see names that are assigned several at a time.
suppress_warnings = ["autoapi.python_import_resolution"]

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
templates_path = ["templates"]
html_additional_pages = {"index": "index.html"}
html_show_sourcelink = False
html_copy_source = False


class Mermaid(SphinxDirective):
    """A Mermaid block, drawn when the site is built."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The drawing as SVG inside the page, whose style sheet gives it its colours."""
        svg = mmdr.render("\n".join(self.content), backend="mermaid-rs-renderer").svg()
        return [nodes.raw("", f'<div class="mermaid">{svg}</div>', format="html")]


def add_navigation(app: Sphinx, page: str, content: list[str]) -> None:
    """Put the site's navigation, which GitHub would show as code, behind the text of the first page."""
    if page == root_doc:
        content[0] += (HERE / "navigation.md").read_text(encoding="utf-8")


def add_reports(app: Sphinx, page: str, content: list[str]) -> None:
    """Copy the reports of finished runs into the site, and list them in the gallery."""
    if page != "docs/gallery":
        return
    for report in sorted(ROOT.glob("results/*/report.html")):
        copy = Path(app.outdir, "reports", f"{report.parent.name}.html")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(report, copy)
        content[0] += f'- <a href="../reports/{copy.name}">{report.parent.name}</a>\n'


def shorten_sidebar(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Unfold only the reader's place in the sidebar: all 290 pages on each of them take most of the time of a build."""
    if toctree := context.get("toctree"):
        context["toctree"] = lambda **options: toctree(**options | {"collapse": True})


def setup(app: Sphinx) -> dict[str, bool]:
    """Register what this file defines."""
    app.add_directive("mermaid", Mermaid)
    app.connect("source-read", add_navigation)
    app.connect("source-read", add_reports)
    app.connect("html-page-context", shorten_sidebar, priority=400)  # before the theme's
    return {"parallel_read_safe": True}
