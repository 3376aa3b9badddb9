"""Whether tokenizer and table of a teacher can be pruned, asked before anything is computed with it.

It only refuses: no output depends on this code, so that an edit of the surgery does not fetch the teacher again and compute
its vectors anew (:mod:`langtailor.storage.code_digest`).
"""

from __future__ import annotations

from pathlib import Path

from langtailor.errors import UnsupportedTokenizerError
from langtailor.storage.json_files import load_json_object
from langtailor.surgery.registry import load_family
from langtailor.surgery.spec import model_type


def check_tokenizer(folder: Path) -> None:
    """Refuse a tokenizer that cannot be pruned.

    Raises:
        ArtifactError: a file is no JSON object.
        UnsupportedTokenizerError: its model or an option of it is not supported.
    """
    if model_type(spec := load_json_object(folder / "tokenizer.json")) is None:
        raise UnsupportedTokenizerError(
            f"tokenizer.json has a model of type {spec['model'].get('type')!r}; BPE, Unigram, WordPiece can be pruned and "
            "grafted. Choose another teacher"
        )
    load_family(folder)


def check_table(folder: Path) -> None:
    """Refuse weights of which no rows can be taken.

    Raises:
        LangtailorError: there is no one table of input embeddings, or it is stored in a precision that is not supported.
    """
    from langtailor.models.vocabulary_tensors import find_vocabulary_tensors  # loads torch, which a plan does without

    find_vocabulary_tensors(folder)
