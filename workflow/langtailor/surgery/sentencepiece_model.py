"""Reading and rewriting the model file of SentencePiece.

A file ``tokenizer.model`` or ``sentencepiece.bpe.model`` is one ``ModelProto`` message: a list of pieces (name, score,
type), the settings of training and those of normalisation. Only the pieces, and the few numbers that depend on them,
change when a vocabulary is pruned; all other bytes are copied as they are.

**BPE.** SentencePiece stores no merges: any two neighbours may join whose product is a piece, the piece of the highest
score first (``src/bpe_model.cc``). A ``tokenizer.json`` that was converted from such a file lists all these pairs in
that order. So kept pieces keep their scores, and each graft gets a score below all others, in the order of the grafts:
the same order of merges again. That a graft may join by every split of itself changes nothing (point 3 in
:mod:`langtailor.surgery.bpe.merges`).

Source: ``src/sentencepiece_model.proto`` of https://github.com/google/sentencepiece, which gives the field numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import lru_cache

from langtailor.surgery.base import Layout
from langtailor.surgery.protobuf import BYTES, FIXED32, VARINT, Field, read_fields, signed, write_fields

_PIECES, _TRAINER_SPEC, _SELF_TEST_DATA = 1, 2, 4
_PIECE_TEXT, _PIECE_SCORE, _PIECE_KIND = 1, 2, 3
_VOCAB_SIZE = 4
#: Field of the id, field of the name and default of both, in ``TrainerSpec``.
_NAMED_IDS = ((40, 45, 0, "<unk>"), (41, 46, 1, "<s>"), (42, 47, 2, "</s>"), (43, 48, -1, "<pad>"))


class Kind(IntEnum):
    """Type of a piece."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Piece:
    """One entry of the vocabulary; its place in the list is its id."""

    text: str
    score: float
    kind: Kind = Kind.NORMAL


@lru_cache(maxsize=2)
def read_pieces(model: bytes) -> tuple[Piece, ...]:
    """The pieces of a model file, by SentencePiece id.

    Raises:
        ValueError: the bytes are no SentencePiece model.
    """
    pieces = tuple(map(_piece, _piece_messages(model)))
    if sum(piece.kind is Kind.UNKNOWN for piece in pieces) != 1:
        raise ValueError("not a SentencePiece model: there is not exactly one unknown piece")
    return pieces


def is_sentencepiece(data: bytes) -> bool:
    """Whether a file starts as a SentencePiece model does; other formats use the name ``tokenizer.model``, too."""
    try:
        number, _, value = next(read_fields(data), Field(0, VARINT, 0))
        return number == _PIECES and isinstance(value, bytes) and _piece(value).text != ""
    except ValueError:
        return False


def rewrite_sentencepiece(model: bytes, layout: Layout, special: Collection[str] = ()) -> bytes:
    """The teacher's model file with the pieces of a new vocabulary.

    There are two ways of numbering. Where the teacher's piece ``i`` is its token ``i`` (Gemma, Llama, T5), piece ``i``
    is token ``i`` of the layout again. Where they differ (fairseq's, in XLM-R: ``<unk>`` first, no ``<pad>``, no
    ``<mask>``), kept pieces stay in the file's order, and grafts and padding follow in the layout's.

    Kept pieces keep score and type. A graft has its own score or, in BPE where the order of scores is the order of
    merges, one below all others.

    Args:
        model: content of the teacher's file.
        layout: the new vocabulary.
        special: tokens that become control pieces where the teacher's file lacks them.

    Returns:
        Content of the new file. Settings of training and normalisation are the teacher's; its self-test, which expects
        the old segmentation, is dropped.

    Raises:
        ValueError: the bytes are no SentencePiece model.
    """
    pieces = read_pieces(model)
    index = {piece.text: i for i, piece in enumerate(pieces)}
    kept = {token: int(i) for token, i in zip(layout.tokens, layout.teacher_ids.tolist(), strict=True) if i >= 0}
    of_file = {token: index[token] for token in kept if token in index}
    new = {token: pieces[i] for token, i in of_file.items()} | dict(_new_pieces(layout, pieces))
    if all(kept[token] == i for token, i in of_file.items()):
        return with_pieces(model, [new.get(token) or _outside(token, special) for token in layout.tokens])
    added = (token for token in layout.tokens if token in layout.grafts or token in layout.padding)
    return with_pieces(model, [new[token] for token in (*sorted(of_file, key=of_file.__getitem__), *added)])


def without_last_outside(layout: Layout, model: bytes) -> Layout:
    """The layout without its last tokens as far as the teacher's file lacks them, such as T5's ``<extra_id_0>``."""
    texts = {piece.text for piece in read_pieces(model)}
    end = len(layout)
    while end and layout.teacher_ids[end - 1] >= 0 and layout.tokens[end - 1] not in texts:
        end -= 1
    return replace(layout, tokens=layout.tokens[:end], teacher_ids=layout.teacher_ids[:end])


def _new_pieces(layout: Layout, teacher: Sequence[Piece]) -> Iterator[tuple[str, Piece]]:
    """Padding and grafts with their pieces."""
    lowest = min((piece.score for piece in teacher), default=0.0)
    for token in layout.tokens:
        if token in layout.padding:
            yield token, Piece(token, 0.0, Kind.UNUSED)
        elif token in layout.grafts:
            score = layout.grafts[token].score
            lowest = lowest - 1 if score is None else lowest
            yield token, Piece(token, lowest if score is None else score)


def _outside(token: str, special: Collection[str]) -> Piece:
    """The piece of a kept token that the teacher's file lacks."""
    return Piece(token, 0.0, Kind.CONTROL if token in special else Kind.USER_DEFINED)


def with_pieces(model: bytes, pieces: Sequence[Piece]) -> bytes:
    """The model with other pieces. Size and ids of named pieces in the settings follow; the self-test is dropped.

    Pieces that the model has are copied byte by byte. Fields stand in ascending order, as protobuf writes them.
    """
    ids = {piece.text: index for index, piece in enumerate(pieces)}
    copies = dict(zip(read_pieces(model), _piece_messages(model), strict=True))
    new = [Field(_PIECES, BYTES, copies.get(piece) or _piece_bytes(piece)) for piece in pieces]
    for field in read_fields(model):
        if field.number == _TRAINER_SPEC and isinstance(field.value, bytes):
            new.append(Field(_TRAINER_SPEC, BYTES, _trainer_spec(field.value, ids)))
        elif field.number not in (_PIECES, _SELF_TEST_DATA):
            new.append(field)
    return write_fields(_ascending(new))


def _trainer_spec(spec: bytes, ids: Mapping[str, int]) -> bytes:
    fields = list(read_fields(spec))
    values = {field.number: field.value for field in fields}
    changed = {_VOCAB_SIZE: len(ids)}
    for id_field, name_field, default, default_name in _NAMED_IDS:
        name = values.get(name_field, default_name)
        if _number(values.get(id_field, default)) >= 0:
            changed[id_field] = ids.get(name.decode() if isinstance(name, bytes) else str(name), -1)
    kept = [field for field in fields if field.number not in changed]
    return write_fields(_ascending([*kept, *(Field(number, VARINT, value) for number, value in changed.items())]))


def _ascending(fields: list[Field]) -> list[Field]:
    return sorted(fields, key=lambda field: field.number)


def _piece_messages(model: bytes) -> list[bytes]:
    fields = (field for field in read_fields(model) if field.number == _PIECES)
    return [value for _, _, value in fields if isinstance(value, bytes)]


def _piece(message: bytes) -> Piece:
    values = {number: value for number, _, value in read_fields(message)}
    text, score, kind = values.get(_PIECE_TEXT, b""), values.get(_PIECE_SCORE, b"\0\0\0\0"), values.get(_PIECE_KIND, 1)
    if not isinstance(text, bytes) or not isinstance(score, bytes) or len(score) != 4:
        raise ValueError("not a SentencePiece model: a piece has fields of other types")
    return Piece(text.decode(), struct.unpack("<f", score)[0], Kind(_number(kind)))


def _piece_bytes(piece: Piece) -> bytes:
    return write_fields(
        [
            Field(_PIECE_TEXT, BYTES, piece.text.encode()),
            Field(_PIECE_SCORE, FIXED32, struct.pack("<f", piece.score)),
            Field(_PIECE_KIND, VARINT, piece.kind),
        ]
    )


def _number(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("not a SentencePiece model: a number is stored as bytes")
    return signed(value)
