"""What all formats have in common that are an ONNX graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langtailor.export.format import Format

if TYPE_CHECKING:
    from langtailor.export.client import Client

#: What transformers.js calls a graph (``dtype``), by the name of its file. It finds others by their name.
_DTYPES = {"model": "fp32", "model_fp16": "fp16", "model_quantized": "q8"}


class OnnxFormat(Format):
    """A format that onnxruntime reads."""

    tag = "onnx"

    def client(self) -> type[Client]:
        """The client in onnxruntime."""
        from langtailor.export.onnx.client import OnnxClient

        return OnnxClient

    def files(self, file: Path) -> list[Path]:
        """The graph, and its weights where they are too large for its file."""
        weights = data_file(file)
        return [file, *([weights] if weights.is_file() else [])]

    def in_browser(self, folder: Path) -> dict[str, Any]:
        """Options by which transformers.js finds the graph of an export."""
        name = Path(self.file).stem
        options: dict[str, Any] = {"dtype": _DTYPES.get(name, "fp32")}
        if name not in _DTYPES:
            options["model_file_name"] = name
        if data_file(folder / self.file).is_file():
            options["use_external_data_format"] = True
        return options

    def usage(self, folder: Path, inputs: Sequence[str]) -> str:
        """Lines for Python and for transformers.js."""
        from langtailor.export.padding import padding
        from langtailor.student.markdown import markdown_template

        template = markdown_template("langtailor.export.onnx", "card.md.jinja")
        return template.render(
            name=self.name, graph=self.file, inputs=inputs, padding=padding(folder), options=self.in_browser(folder)
        )


def data_file(file: Path) -> Path:
    """Where the weights of a graph are that are too large for its own file, by the name that transformers.js expects."""
    return file.with_name(f"{file.name}_data")
