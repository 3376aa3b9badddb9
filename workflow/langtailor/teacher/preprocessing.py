"""What the library does to text before the model reads it, written into ``tokenizer.json``.

sentence-transformers lower-cases where ``sentence_bert_config.json`` says ``do_lower_case``, and transformers builds some
tokenizers from ``tokenizer_config.json``. Counts, grafts and certificate read ``tokenizer.json`` alone. So the run's copy of
it gets the steps that the loaded model has, and every program that opens the student reads text alike.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langtailor.models.tokenizer_file import tokenizer_of
from langtailor.storage.json_files import format_json, load_json_object

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_LOG = logging.getLogger("langtailor")
#: The steps before the model, in their order.
_STEPS = ("normalizer", "pre_tokenizer")
#: Texts on which two tokenizers that treat text differently give other ids: case, accents, white space, digits, scripts.
_TEXTS = (
    "An OLD Ferry crosses the Bosphorus.",
    "İSTANBUL'da Çay, ılık ŞEKER ve ĞĞĞ",
    "Ünïcödé  naïve   café e\u0301te\u0301",
    " leading, trailing \t and\nnew lines ",
    "12345 3,1415 %99 user@example.org don't",
    "Владивосток ΑΘΗΝΑ ﬁne ①②③ ＡＢＣ",
    "東京タワー 서울 שלום مرحبا नमस्ते ไทย",
)


def adopt_preprocessing(folder: Path, tokenizer: Any) -> bool:
    """Write the steps that a loaded model's tokenizer has into the ``tokenizer.json`` of its folder.

    A file that gives the same ids is left as it is.

    Args:
        folder: the fetched teacher.
        tokenizer: the tokenizer of the model as sentence-transformers loads it.

    Returns:
        Whether the file was changed.

    Raises:
        ArtifactError: ``tokenizer.json`` is missing or unreadable.
    """
    file = folder / "tokenizer.json"
    backend, spec = getattr(tokenizer, "backend_tokenizer", None), load_json_object(file)
    if backend is None:
        return False
    loaded = json.loads(backend.to_str())
    if _ids(tokenizer_of(loaded)) == _ids(tokenizer_of(spec)):
        return False
    changed = [step for step in _STEPS if loaded[step] != spec.get(step)]
    file.write_bytes(format_json(spec | {step: loaded[step] for step in changed}))
    _LOG.info(
        "the library preprocesses text unlike tokenizer.json: the run's copy takes its %s from the loaded model",
        " and ".join(changed),
    )
    return True


def _ids(tokenizer: Tokenizer) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch(list(_TEXTS), add_special_tokens=False)]
