"""Finding the family of a teacher's tokenizer. The one place that lists the families."""

from __future__ import annotations

import logging
from pathlib import Path

from langtailor.errors import UnsupportedTokenizerError
from langtailor.storage.json_files import load_json_object
from langtailor.surgery.base import Family
from langtailor.surgery.bpe import BytePairFamily
from langtailor.surgery.sentencepiece_model import sentencepiece_files
from langtailor.surgery.spec import model_type
from langtailor.surgery.unigram import UnigramFamily
from langtailor.surgery.wordpiece import WordPieceFamily

_LOG = logging.getLogger("langtailor")
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
        ArtifactError: a file is no JSON object.
        UnsupportedTokenizerError: there is no ``tokenizer.json``, none of the families recognises it, or a SentencePiece
            file is damaged.
    """
    if not (model_dir / "tokenizer.json").is_file():
        raise UnsupportedTokenizerError(
            f"{model_dir}: there is no tokenizer.json, so this teacher has no fast tokenizer; {_SUPPORTED}. Choose "
            "another teacher, or convert its tokenizer with transformers: AutoTokenizer ... save_pretrained"
        )
    spec = load_json_object(model_dir / "tokenizer.json")
    config = load_json_object(model_dir / "tokenizer_config.json", missing_is_empty=True)
    files = sentencepiece_files(model_dir)
    kind = model_type(spec)
    if kind == "WordPiece":
        for name in files:
            _LOG.warning("%s is left out: it does not belong to tokenizer.json, which is a WordPiece", name)
        return WordPieceFamily.from_spec(spec, config, vocab_file=(model_dir / "vocab.txt").is_file())
    if kind == "Unigram":
        return UnigramFamily.from_spec(spec, config, files)
    if kind == "BPE":
        return BytePairFamily.from_spec(spec, config, files)
    raise UnsupportedTokenizerError(
        f"{model_dir / 'tokenizer.json'}: the model is of type {spec.get('model', {}).get('type')!r}; {_SUPPORTED}. "
        "Choose another teacher"
    )
