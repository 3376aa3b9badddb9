"""The student without its encoder: a vector a token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langtailor.config.export import Bounds, export_format
from langtailor.export.format import Format, Source

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

    from langtailor.export.client import Client

#: Texts of the training split that the rows are fitted on, of each language.
TEXTS = 20_000


@export_format
class Static(Format):
    """One vector per token; their mean is the vector of a text. Far faster and far less exact, in its own vector space."""

    name = "static"
    bounds = Bounds(0.0, -1.0, 100.0)
    file = "model.safetensors"
    tag = "model2vec"
    reads_as_student = False

    def prepare(self, source: Source, folder: Path) -> None:
        """The tokenizer without limits, the card, and what says that the model is static."""
        from langtailor.export.static.files import write_static_files

        write_static_files(source.folder, folder, source.model.get_embedding_dimension())

    def write(self, source: Source, out: Path) -> Iterator[dict[str, Any]]:
        from safetensors.numpy import save_file

        from langtailor.evaluation.encoding import encode_texts
        from langtailor.export.static.client import TABLE
        from langtailor.export.static.rows import fit_rows, partly_whitened, token_shares
        from langtailor.export.static.single_tokens import single_token_vectors
        from langtailor.models.tokenizer_file import open_tokenizer

        texts, tokenizer = source.training_texts(TEXTS), open_tokenizer(source.folder)
        vectors = encode_texts(source.model, texts, source.prompt, "training texts, student")
        shares = token_shares(tokenizer, texts)
        fitted = fit_rows(shares, vectors, single_token_vectors(source.model, tokenizer, shares.shape[1]))
        save_file({TABLE: partly_whitened(fitted.rows, shares @ fitted.rows)}, out, {"format": "pt"})
        tried = [{"ridge": ridge, "held_out_cosine": cosine} for ridge, cosine in fitted.tried.items()]
        yield {"texts": len(texts), "ridge": fitted.ridge, "tried": tried}

    def client(self) -> type[Client]:
        """The client in numpy."""
        from langtailor.export.static.client import StaticClient

        return StaticClient

    def as_model(self, student: SentenceTransformer, client: Client) -> SentenceTransformer:
        """The export with its own tokens: without prompt, special tokens and limit."""
        from langtailor.export.static.model import StaticModel

        return StaticModel(student, client).as_model()

    def compared(self, vectors: NDArray[Any]) -> NDArray[Any]:
        """The student's vectors less their mean, as the rows were fitted to them."""
        from langtailor.export.static.rows import centred

        return centred(vectors)

    def usage(self, folder: Path, inputs: Sequence[str]) -> str:
        """Lines for sentence-transformers and model2vec."""
        from langtailor.student.markdown import markdown_template

        return markdown_template("langtailor.export.static", "card.md.jinja").render()
