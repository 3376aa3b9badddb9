"""What all formats have in common that are an ONNX graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from langtailor.export.format import Format

if TYPE_CHECKING:
    from langtailor.export.client import Client


class OnnxFormat(Format):
    """A format that onnxruntime reads."""

    def client(self) -> type[Client]:
        """The client in onnxruntime."""
        from langtailor.export.onnx_client import OnnxClient

        return OnnxClient

    def usage(self, folder: Path, inputs: Sequence[str]) -> str:
        """Lines for Python."""
        from langtailor.export.padding import padding
        from langtailor.student.markdown import markdown_template

        template = markdown_template("langtailor.export", "onnx.md.jinja")
        return template.render(name=self.name, graph=self.file, inputs=inputs, padding=padding(folder))
