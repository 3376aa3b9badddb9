"""What all formats have in common that are a GGUF file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from langtailor.export.format import Format, Source

if TYPE_CHECKING:
    from langtailor.export.client import Client


class GgufFormat(Format):
    """A format that llama.cpp reads.

    Attributes:
        kind: of the file's matrices.
    """

    tag = "gguf"
    kind: ClassVar[str]

    def write(self, source: Source, out: Path) -> Iterator[dict[str, Any]]:
        """The transformer, its pooling and its tokenizer in one file."""
        from langtailor.export.gguf.file import write_gguf

        yield {"tensors": write_gguf(source.folder, source.model, self.kind, out)}

    def client(self) -> type[Client]:
        """The client in llama.cpp."""
        from langtailor.export.gguf.client import LlamaClient

        return LlamaClient

    def usage(self, folder: Path, inputs: Sequence[str]) -> str:
        """Lines for llama.cpp's server."""
        from langtailor.export.gguf.client import length_limit
        from langtailor.export.gguf.composed import folder_composes
        from langtailor.student.markdown import markdown_template

        template = markdown_template("langtailor.export.gguf", "card.md.jinja")
        limit, composes = length_limit(folder), folder_composes(folder)
        return template.render(name=self.name, file=self.file, limit=limit, composes=composes)
