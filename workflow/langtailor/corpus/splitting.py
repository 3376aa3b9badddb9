"""Which split a document belongs to, and which documents are chunked short.

The split depends on the document's id alone, so that the chunks of a document, and translations that share an id, never
straddle splits. Shares are those of the quotas: as long as their ratio stays, a raised quota moves no document.
"""

from __future__ import annotations

from collections.abc import Callable

from langtailor.config.corpus import Quotas
from langtailor.corpus.document import document_hash


def splitter(quotas: Quotas, seed: int) -> Callable[[str], str]:
    """A function from a document's id to its split.

    Args:
        quotas: their ratio gives the shares.
        seed: the seed of the corpus.
    """
    test, validation = quotas.test, quotas.test + quotas.validation

    def split_of(document_id: str) -> str:
        point = document_hash("split", seed, document_id) * quotas.total >> 64
        if point < test:
            return "test"
        return "validation" if point < validation else "train"

    return split_of


def short_documents(share: float, seed: int) -> Callable[[str], bool]:
    """A function that says of a document's id whether it is among those that are chunked into short passages.

    Args:
        share: of the documents, from 0 to 1.
        seed: the seed of the corpus.
    """
    bound = round(share * 2**64)
    return lambda document_id: document_hash("short", seed, document_id) < bound
