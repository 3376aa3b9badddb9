"""The parts of the page that Snakemake's own report shows: scores, certificate and training of each variant."""

from __future__ import annotations

from pathlib import Path

from langtailor.report.page import Page, environment
from langtailor.storage.atomic import atomic_file

#: Templates by the names of the files that they make.
PARTS = {
    "scores": "scores.html.jinja",
    "certificate": "certificate.html.jinja",
    "training": "training.html.jinja",
}


def write_parts(page: Page, folder: Path) -> None:
    """Write each part of each variant as a self-contained page, ``{variant}/{part}.html`` below a folder."""
    template = environment().get_template("part.html.jinja")
    for variant in page.variants:
        for name, part in PARTS.items():
            with atomic_file(folder / variant.name / f"{name}.html") as temporary:
                temporary.write_text(template.render(report=page, variant=variant, part=part), encoding="utf-8")
