"""Finds the family of a teacher's tokenizer. The one place that lists the families."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langtailor.errors import UnsupportedTokenizerError
from langtailor.surgery.base import Family
from langtailor.surgery.bpe import BytePairFamily
from langtailor.surgery.sentencepiece_model import is_sentencepiece
from langtailor.surgery.unigram import UnigramFamily
from langtailor.surgery.wordpiece import WordPieceFamily

if TYPE_CHECKING:
    from tokenizers import models

_SUPPORTED = (
    "supported are BPE with byte fallback (Gemma, Llama, Mistral), byte-level BPE (Qwen, ModernBERT, RoBERTa), "
    "Unigram (XLM-R, multilingual-e5, BGE-M3) and WordPiece (BERT, LaBSE, MiniLM)"
)


def load_family(model_dir: Path) -> Family:
    """The family of the tokenizer in a model folder, bound to it.

    Args:
        model_dir: folder with ``tokenizer.json`` and, where the model has them, ``tokenizer_config.json``,
            ``vocab.txt`` and SentencePiece files.

    Raises:
        UnsupportedTokenizerError: there is no ``tokenizer.json``, or none of the families recognises it.
    """
    spec = _read_json(model_dir / "tokenizer.json")
    if spec is None:
        raise UnsupportedTokenizerError(
            f"{model_dir}: there is no tokenizer.json, so this teacher has no fast tokenizer; {_SUPPORTED}. Choose "
            "another teacher, or convert its tokenizer with transformers: AutoTokenizer ... save_pretrained"
        )
    config = _read_json(model_dir / "tokenizer_config.json") or {}
    sentencepiece = _sentencepiece_files(model_dir)
    if WordPieceFamily.recognises(spec):
        return WordPieceFamily.from_spec(spec, config, vocab_file=(model_dir / "vocab.txt").is_file())
    if UnigramFamily.recognises(spec):
        return UnigramFamily.from_spec(spec, config, sentencepiece)
    if BytePairFamily.recognises(spec):
        return BytePairFamily.from_spec(spec, config, sentencepiece.get("tokenizer.model"))
    raise UnsupportedTokenizerError(
        f"{model_dir / 'tokenizer.json'}: the model is of type {spec.get('model', {}).get('type')!r}; {_SUPPORTED}. "
        "Choose another teacher"
    )


def _read_json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UnsupportedTokenizerError(f"{path}: is not JSON ({error}). Fetch the teacher again") from error
    if not isinstance(content, dict):
        raise UnsupportedTokenizerError(f"{path}: holds no JSON object. Fetch the teacher again")
    return content


def _sentencepiece_files(folder: Path) -> Mapping[str, bytes]:
    """Files ``*.model`` that hold a SentencePiece model; tiktoken's, under the same name, are left out."""
    files = ((path.name, path.read_bytes()) for path in sorted(folder.glob("*.model")))
    return {name: data for name, data in files if is_sentencepiece(data)}


def model_of(spec: Mapping[str, Any]) -> models.Model:
    """The model alone of a ``tokenizer.json``; it reads what it is given as one normalised, pre-tokenized word."""
    from tokenizers import Tokenizer

    model: models.Model = Tokenizer.from_str(json.dumps(dict(spec))).model
    return model
