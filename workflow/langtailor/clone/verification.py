"""Whether the clone gives the teacher's vectors for text whose tokens were all kept."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from langtailor.errors import LangtailorError
from langtailor.models.folder import weight_files
from langtailor.models.loading import load_sentence_transformer
from langtailor.models.safetensors_file import stored_tensors
from langtailor.models.tokenizer_file import open_tokenizer
from langtailor.models.vocabulary_tensors import COMPUTED_IN
from langtailor.storage.json_files import load_json_object
from langtailor.surgery.base import Family

_LOG = logging.getLogger("langtailor")
#: How many texts are compared, of how many words each, from how many of the most frequent words.
_TEXTS, _WORDS_EACH, _WORDS = 32, (12, 4, 1), 192
_WORD = re.compile(r" \S+")
#: Same rows, same arithmetic: the largest difference of two runs of one model, relative to the largest value.
_TOLERANCE = 1e-4


def compare_with_teacher(teacher: Path, clone: Path, family: Family, table: pa.Table, trust_remote_code: bool) -> int:
    """Encode texts whose tokens were all kept with teacher and clone.

    Args:
        teacher: the teacher's folder.
        clone: the clone's folder.
        family: the teacher's tokenizer.
        table: the vocabulary table.
        trust_remote_code: run Python code that comes with the model; without, such a model is not compared.

    Returns:
        The number of texts that were compared.

    Raises:
        LangtailorError: the vectors differ.
    """
    if "auto_map" in load_json_object(clone / "config.json") and not trust_remote_code:
        _LOG.warning("%s: not compared with the teacher, because the model comes with Python code of its own", clone)
        return 0
    texts = list(_retained_texts(teacher, clone, family, table))
    if not texts:
        _LOG.warning("%s: not compared with the teacher, because no text of kept tokens was found", clone)
        return 0
    _LOG.info("comparing the vectors of %d texts with the teacher's", len(texts))
    expected, vectors = (_encode(model, texts, trust_remote_code) for model in (teacher, clone))
    difference = float(np.abs(expected - vectors).max() / np.abs(expected).max())
    if not difference <= _TOLERANCE:
        raise LangtailorError(
            f"{clone}: the clone's vectors differ from the teacher's by {difference:.2g} for text whose tokens were all "
            "kept. Its architecture depends on token ids in a way that is not supported; choose another teacher"
        )
    return len(texts)


def _retained_texts(teacher: Path, clone: Path, family: Family, table: pa.Table) -> Iterator[str]:
    """Texts of frequent words that teacher and clone encode with the same, kept tokens."""
    rows = table.filter(pc.is_valid(table["teacher_id"])).sort_by([("count", "descending"), ("new_id", "ascending")])
    words = [text for text in family.surfaces(rows["token"].to_pylist()) if text and _WORD.fullmatch(text)][:_WORDS]
    texts = ("".join(words[i : i + n]).strip() for n in _WORDS_EACH for i in range(0, len(words), n))
    new_id = dict(zip(rows["teacher_id"].to_pylist(), rows["new_id"].to_pylist(), strict=True))
    old, new = open_tokenizer(teacher), open_tokenizer(clone)
    retained = (text for text in texts if [new_id.get(i) for i in old.encode(text).ids] == new.encode(text).ids)
    yield from islice(retained, _TEXTS)


def _encode(folder: Path, texts: list[str], trust_remote_code: bool) -> NDArray[np.float32]:
    dtypes = (tensor.dtype for file in weight_files(folder) for tensor in stored_tensors(file))
    dtype = next(COMPUTED_IN[dtype] for dtype in dtypes if dtype in COMPUTED_IN)
    model = load_sentence_transformer(folder, "cpu", dtype, trust_remote_code=trust_remote_code)
    vectors = model.encode(texts, prompt="", convert_to_tensor=True, show_progress_bar=False)
    return np.asarray(vectors.float().numpy(), dtype=np.float32)
