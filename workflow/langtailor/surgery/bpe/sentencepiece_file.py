"""The ``tokenizer.model`` beside a byte-fallback ``tokenizer.json``.

SentencePiece's BPE stores no merges: any two neighbours may join whose product is a piece, the piece of the highest
score first (``src/bpe_model.cc`` of github.com/google/sentencepiece). A ``tokenizer.json`` that was converted from
such a file lists all these pairs in that order. So the pruned file keeps pieces, types and scores, and a graft gets a
score below all others, in the order of the grafts: the same order of merges again. That a graft may join by every
split of itself changes nothing (point 3 in :mod:`langtailor.surgery.bpe.merges`).

Format: ``sentencepiece_model.proto`` of the same repository.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from langtailor.surgery.base import Layout


def rewrite(teacher: bytes, layout: Layout, special: Collection[str]) -> bytes:
    """The teacher's file for the new vocabulary.

    Args:
        teacher: content of the teacher's ``tokenizer.model``.
        layout: the new vocabulary.
        special: tokens that, where the teacher's file lacks them, become control symbols.

    Returns:
        Content of the new ``tokenizer.model``: piece ``i`` is token ``i`` of the layout.
    """
    from sentencepiece import sentencepiece_model_pb2

    proto: Any = sentencepiece_model_pb2  # generated code without types

    old, new = proto.ModelProto.FromString(teacher), proto.ModelProto.FromString(teacher)
    del new.pieces[:]
    types = proto.ModelProto.SentencePiece.Type
    known = {piece.piece: piece for piece in old.pieces}
    score = min((piece.score for piece in old.pieces), default=0.0)
    for token, teacher_id in zip(layout.tokens, layout.teacher_ids, strict=True):
        if token in known and teacher_id >= 0:
            new.pieces.add().CopyFrom(known[token])
        elif token in layout.padding:
            new.pieces.add(piece=token, score=0.0, type=types.UNUSED)
        elif token in layout.grafts:
            score -= 1
            new.pieces.add(piece=token, score=score, type=types.NORMAL)
        else:
            new.pieces.add(piece=token, score=0.0, type=types.CONTROL if token in special else types.USER_DEFINED)
    trainer, new_id = new.trainer_spec, layout.new_id
    trainer.vocab_size = len(layout)
    for part in ("unk", "bos", "eos", "pad"):
        if getattr(trainer, f"{part}_id") >= 0:
            setattr(trainer, f"{part}_id", new_id.get(getattr(trainer, f"{part}_piece"), -1))
    return bytes(new.SerializeToString(deterministic=True))
