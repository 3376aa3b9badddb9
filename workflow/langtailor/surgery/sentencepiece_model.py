"""Reading and rewriting the model file of SentencePiece, without a dependency on protobuf.

A file ``tokenizer.model`` or ``sentencepiece.bpe.model`` is one ``ModelProto`` message: a list of pieces (name, score,
type), the settings of training and those of normalisation. Only the pieces, and the few numbers that depend on them,
change when a vocabulary is cut; all other bytes are copied as they are.

Sources: https://protobuf.dev/programming-guides/encoding and ``src/sentencepiece_model.proto`` of
https://github.com/google/sentencepiece, which also gives the field numbers below.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from langtailor.surgery.base import Layout

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}
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


class Field(NamedTuple):
    """One field of a message: the value is an int for varints and raw bytes otherwise."""

    number: int
    wire_type: int
    value: int | bytes


@lru_cache(maxsize=2)
def read_pieces(model: bytes) -> tuple[Piece, ...]:
    """The pieces of a model file, by SentencePiece id.

    Raises:
        ValueError: the bytes are no SentencePiece model.
    """
    fields = (field for field in read_fields(model) if field.number == _PIECES)
    pieces = tuple(_piece(value) for _, _, value in fields if isinstance(value, bytes))
    if sum(piece.kind is Kind.UNKNOWN for piece in pieces) != 1:
        raise ValueError("not a SentencePiece model: there is not exactly one unknown piece")
    return pieces


def is_sentencepiece(data: bytes) -> bool:
    """Whether a file starts as a SentencePiece model does; other formats use the name ``tokenizer.model``, too."""
    try:
        number, _, value = next(read_fields(data), Field(0, _VARINT, 0))
        return number == _PIECES and isinstance(value, bytes) and _piece(value).text != ""
    except ValueError:
        return False


def rewrite_sentencepiece(model: bytes, layout: Layout, special: Collection[str] = ()) -> bytes:
    """The teacher's model file with the pieces of a new vocabulary.

    Two ways of numbering are known. Where the teacher's piece ``i`` is its token ``i`` (Gemma, Llama, T5), piece ``i``
    is token ``i`` of the layout again. Where they differ (fairseq's, in XLM-R: ``<unk>`` first, no ``<pad>``, no
    ``<mask>``), kept pieces stay in the file's own order and grafts and padding follow in the layout's.

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
    teacher = {piece.text: (index, piece) for index, piece in enumerate(read_pieces(model))}
    kept = {token: int(i) for token, i in zip(layout.tokens, layout.teacher_ids.tolist(), strict=True) if i >= 0}
    same_ids = all(teacher[token][0] == i for token, i in kept.items() if token in teacher)
    order = _file_order(layout, kept, teacher) if same_ids else _own_order(layout, kept, teacher)
    lowest = min((piece.score for _, piece in teacher.values()), default=0.0)
    pieces: list[Piece] = []
    for token in order:
        if token in kept and token in teacher:
            pieces.append(teacher[token][1])
        elif token in layout.padding:
            pieces.append(Piece(token, 0.0, Kind.UNUSED))
        elif token in layout.grafts:
            score = layout.grafts[token].score
            lowest = lowest - 1 if score is None else lowest
            pieces.append(Piece(token, lowest if score is None else score))
        else:
            pieces.append(Piece(token, 0.0, Kind.CONTROL if token in special else Kind.USER_DEFINED))
    return with_pieces(model, pieces)


def _file_order(layout: Layout, kept: Collection[str], teacher: Collection[str]) -> Sequence[str]:
    """The layout's tokens, without the last ones that only ``tokenizer.json`` has."""
    end = len(layout)
    while end and layout.tokens[end - 1] in kept and layout.tokens[end - 1] not in teacher:
        end -= 1
    return layout.tokens[:end]


def _own_order(layout: Layout, kept: Collection[str], teacher: dict[str, tuple[int, Piece]]) -> list[str]:
    both = sorted((token for token in kept if token in teacher), key=lambda token: teacher[token][0])
    return [*both, *(token for token in layout.tokens if token in layout.grafts or token in layout.padding)]


def with_pieces(model: bytes, pieces: Sequence[Piece]) -> bytes:
    """The model with other pieces. Size and ids of named pieces in the settings follow; the self-test is dropped."""
    ids = {piece.text: index for index, piece in enumerate(pieces)}
    new = [Field(_PIECES, _BYTES, _piece_bytes(piece)) for piece in pieces]
    for field in read_fields(model):
        if field.number == _TRAINER_SPEC and isinstance(field.value, bytes):
            new.append(Field(_TRAINER_SPEC, _BYTES, _trainer_spec(field.value, ids)))
        elif field.number not in (_PIECES, _SELF_TEST_DATA):
            new.append(field)
    return write_fields(new)


def _trainer_spec(spec: bytes, ids: dict[str, int]) -> bytes:
    fields = list(read_fields(spec))
    values = {field.number: field.value for field in fields}
    changed = {_VOCAB_SIZE: len(ids)}
    for id_field, name_field, default, default_name in _NAMED_IDS:
        name = values.get(name_field, default_name)
        if _signed(values.get(id_field, default)) >= 0:
            changed[id_field] = ids.get(name.decode() if isinstance(name, bytes) else str(name), -1)
    kept = [field for field in fields if field.number not in changed]
    return write_fields([*kept, *(Field(number, _VARINT, value) for number, value in changed.items())])


def _piece(message: bytes) -> Piece:
    values = {number: value for number, _, value in read_fields(message)}
    text, score, kind = values.get(_PIECE_TEXT, b""), values.get(_PIECE_SCORE, b"\0\0\0\0"), values.get(_PIECE_KIND, 1)
    if not isinstance(text, bytes) or not isinstance(score, bytes) or len(score) != _FIXED_SIZES[_FIXED32]:
        raise ValueError("not a SentencePiece model: a piece has fields of other types")
    return Piece(text.decode(), struct.unpack("<f", score)[0], Kind(_signed(kind)))


def _piece_bytes(piece: Piece) -> bytes:
    fields = [
        Field(_PIECE_TEXT, _BYTES, piece.text.encode()),
        Field(_PIECE_SCORE, _FIXED32, struct.pack("<f", piece.score)),
    ]
    # NORMAL is the default and is left out, as SentencePiece does.
    return write_fields(fields if piece.kind is Kind.NORMAL else [*fields, Field(_PIECE_KIND, _VARINT, piece.kind)])


def read_fields(message: bytes) -> Iterator[Field]:
    """The fields of a protobuf message, in order.

    Raises:
        ValueError: the bytes are no message.
    """
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        wire_type, value = key & 7, b""
        if wire_type == _VARINT:
            number, at = _read_varint(message, at)
            yield Field(key >> 3, wire_type, number)
            continue
        if wire_type == _BYTES:
            size, at = _read_varint(message, at)
        elif wire_type in _FIXED_SIZES:
            size = _FIXED_SIZES[wire_type]
        else:
            raise ValueError(f"not a protobuf message: wire type {wire_type}")
        value, at = message[at : at + size], at + size
        if len(value) != size:
            raise ValueError("not a protobuf message: it ends within a field")
        yield Field(key >> 3, wire_type, value)


def write_fields(fields: Iterable[Field]) -> bytes:
    """Inverse of :func:`read_fields`."""
    out = bytearray()
    for number, wire_type, value in fields:
        out += _varint(number << 3 | wire_type)
        if isinstance(value, int):
            out += _varint(value)
        else:
            out += (_varint(len(value)) if wire_type == _BYTES else b"") + value
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise ValueError("not a protobuf message: it ends within a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers are written as 64-bit two's complement
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _signed(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("not a SentencePiece model: a number is stored as bytes")
    return value - (1 << 64) if value >> 63 else value
