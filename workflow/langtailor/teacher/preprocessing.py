"""How the library reads text, written into ``tokenizer.json``.

sentence-transformers lower-cases where ``sentence_bert_config.json`` says ``do_lower_case``, and transformers builds some
tokenizers from their vocabulary and ``tokenizer_config.json``. Counts, grafts and certificate read ``tokenizer.json`` alone.
So the run's copy of it gets the steps that the loaded model has, and every program that opens the student reads text alike.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langtailor.errors import ConfigError
from langtailor.models.tokenizer_file import tokenizer_of
from langtailor.storage.json_files import format_json, load_json_object
from langtailor.surgery.spec import added_tokens, processor_tokens, with_ids

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

Spec = Mapping[str, Any]
Ids = list[list[int]]

_LOG = logging.getLogger("langtailor")
#: Parts of ``tokenizer.json`` that are taken over, alone or together: what is right is left as it is.
_PARTS = (
    ("normalizer", "pre_tokenizer"),
    ("post_processor",),
    ("normalizer", "pre_tokenizer", "post_processor"),
    ("normalizer", "pre_tokenizer", "post_processor", "added_tokens"),
)
_BERT_WORD = 100
#: Texts on which two tokenizers that treat text differently give other ids: case, accents, white space, digits, scripts,
#: characters without a token, and words on both sides of the length from which on BertTokenizer reads none.
_TEXTS = (
    "An OLD Ferry crosses the Bosphorus.",
    "İSTANBUL'da Çay, ılık ŞEKER ve ĞĞĞ",
    "Ünïcödé  naïve   café e\u0301te\u0301",
    " leading, trailing \t and\nnew lines ",
    "12345 3,1415 %99 user@example.org don't",
    "Владивосток ΑΘΗΝΑ ﬁne ①②③ ＡＢＣ",
    "東京タワー 서울 שלום مرحبا नमस्ते ไทย",
    "🦜🦜 🪿 \U00013000",
    "a" * _BERT_WORD,
    "a" * (_BERT_WORD + 1),
    "",
)
#: Tokens of the vocabulary whose texts are read, too: a tokenizer may have the same vocabulary and another model.
_SAMPLE = 4_096
#: Tokens of a text; longer than any.
_LONGEST = 1_000_000
_SHOWN = 60


def adopt_preprocessing(folder: Path, model: SentenceTransformer, name: str) -> bool:
    """Write the steps that a loaded model's tokenizer has into the ``tokenizer.json`` of its folder.

    A file that gives the same ids is left as it is.

    Args:
        folder: the fetched teacher.
        model: the model as sentence-transformers loads it.
        name: what the user calls it, for messages.

    Returns:
        Whether the file was changed.

    Raises:
        ArtifactError: ``tokenizer.json`` is missing or unreadable.
        ConfigError: the library reads text otherwise even with these steps: it has another model or other tokens.
    """
    tokenizer, spec = model.tokenizer, load_json_object(folder / "tokenizer.json")
    if not hasattr(tokenizer, "backend_tokenizer"):
        return False
    stated = tokenizer_of(spec)
    texts = [*_TEXTS, *_texts_of_tokens(spec, stated)]
    expected, given = _library_ids(model, texts), _ids(stated, texts)
    if given == expected:
        return False
    for parts, changed in _candidates(spec, json.loads(tokenizer.backend_tokenizer.to_str())):
        if _ids(tokenizer_of(changed), texts) == expected:
            (folder / "tokenizer.json").write_bytes(format_json(changed))
            _LOG.info(
                "the library reads text unlike tokenizer.json: the run's copy takes its %s from the loaded model",
                " and ".join(part for part in parts if changed[part] != spec.get(part)),
            )
            return True
    raise _unlike(name, tokenizer, spec, texts, given, expected)


def _texts_of_tokens(spec: Spec, tokenizer: Tokenizer) -> Iterator[str]:
    """Added tokens inside a text, and the texts of tokens from all over the vocabulary."""
    yield from (f"a {token} b" for token in added_tokens(spec))
    size = tokenizer.get_vocab_size()
    yield from (tokenizer.decode([token_id]) for token_id in range(0, size, max(1, size // _SAMPLE)))


def _library_ids(model: SentenceTransformer, texts: Sequence[str]) -> Ids:
    """The ids that the model reads, special ones included, without truncation."""
    limit, model.max_seq_length = model.max_seq_length, _LONGEST
    features = model.preprocess(list(texts))
    model.max_seq_length = limit
    pairs = zip(features["input_ids"], features["attention_mask"], strict=True)
    return [ids[mask.bool()].tolist() for ids, mask in pairs]


def _ids(tokenizer: Tokenizer, texts: Sequence[str]) -> Ids:
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]


def _candidates(spec: Spec, loaded: Spec) -> Iterator[tuple[Sequence[str], Spec]]:
    """The file with some parts of the loaded tokenizer; ids in these are those of the same tokens in the file."""
    ids = tokenizer_of(spec).get_vocab(with_added_tokens=True)
    taken = {part: loaded[part] for part in _PARTS[-1]}
    taken["added_tokens"] = [
        {**entry, "id": ids[entry["content"]]} for entry in loaded["added_tokens"] if entry["content"] in ids
    ]
    if processor_tokens(loaded) <= ids.keys():
        taken["post_processor"] = with_ids(loaded["post_processor"], ids)
    else:
        taken["post_processor"] = spec.get("post_processor")
    for parts in _PARTS:
        yield parts, {**spec, **{part: taken[part] for part in parts}}


def _unlike(name: str, tokenizer: Any, spec: Spec, texts: Sequence[str], given: Ids, expected: Ids) -> ConfigError:
    text, one, other = next(row for row in zip(texts, given, expected, strict=True) if row[1] != row[2])
    one_id, other_id = next(ids for ids in zip_longest(one, other) if ids[0] != ids[1])
    token = None if one_id is None else tokenizer_of(spec).id_to_token(one_id)
    other_token = None if other_id is None else tokenizer.convert_ids_to_tokens(other_id)
    return ConfigError(
        "teacher.model",
        f"{name!r} is read unlike its tokenizer.json: for tokenizer_config.json: tokenizer_class the library builds "
        f"{type(tokenizer).__name__}, which has other tokens in {text[:_SHOWN]!r}: {other_token!r} where tokenizer.json "
        f"gives {token!r}. Set tokenizer_class to PreTrainedTokenizerFast, which takes tokenizer.json as it is, in a copy "
        "of the model, see that its vectors are still good, and give that folder",
    )
