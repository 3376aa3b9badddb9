"""Byte-pair encoding, with byte fallback (Gemma, Llama, Mistral) and byte-level (Qwen, ModernBERT, RoBERTa).

Read in this order: ``merges`` (how the encoder merges, and why a closed subset of the vocabulary segments as the whole
did), ``surgery/spelling.py``, ``pieces`` (where text can be split), ``reader``, ``grafts`` and ``proposals`` (new
tokens), ``family`` (the protocol). The file ``tokenizer.model`` is written by ``surgery/sentencepiece_model.py``.
"""

from langtailor.surgery.bpe.family import BytePairFamily

__all__ = ["BytePairFamily"]
