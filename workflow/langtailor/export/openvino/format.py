"""What all formats have in common that are a graph of OpenVINO."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from langtailor.export.format import Format

if TYPE_CHECKING:
    from langtailor.export.client import Client


class OpenvinoFormat(Format):
    """A format that OpenVINO's runtime reads, where sentence-transformers' ``backend="openvino"`` looks for it."""

    tag = "openvino"

    def files(self, file: Path) -> list[Path]:
        """The graph and, beside it, its weights."""
        return [file, file.with_suffix(".bin")]

    def client(self) -> type[Client]:
        """The client in OpenVINO's runtime."""
        from langtailor.export.openvino.client import OpenvinoClient

        return OpenvinoClient

    def usage(self, folder: Path, inputs: Sequence[str]) -> str:
        """Lines for Python, with and without sentence-transformers."""
        from langtailor.export.padding import padding
        from langtailor.student.markdown import markdown_template

        template = markdown_template("langtailor.export.openvino", "card.md.jinja")
        return template.render(name=self.name, graph=self.file, inputs=inputs, padding=padding(folder))
