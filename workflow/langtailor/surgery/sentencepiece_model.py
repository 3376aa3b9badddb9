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

import logging
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import lru_cache
from pathlib import Path

from langtailor.errors import UnsupportedTokenizerError
from langtailor.surgery.base import Layout
from langtailor.surgery.protobuf import BYTES, FIXED32, VARINT, Field, read_fields, signed, write_fields

_LOG = logging.getLogger("langtailor")
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


def sentencepiece_files(folder: Path) -> dict[str, bytes]:
    """Content by name of a folder's files ``*.model`` that are SentencePiece models; tiktoken's are skipped.

    Raises:
        UnsupportedTokenizerError: a file is damaged, or has not exactly one unknown piece.
    """
    contents = ((path.name, path.read_bytes()) for path in sorted(folder.glob("*.model")))
    files = {name: data for name, data in contents if is_sentencepiece(data)}
    for name, data in files.items():
        try:
            read_pieces(data)
        except ValueError as error:
            raise UnsupportedTokenizerError(
                f"{name}: {error}. Repair the file, or remove it from the teacher's folder: tokenizer.json is enough"
            ) from error
    return files


def matching_files(files: Mapping[str, bytes], tokens: Collection[str]) -> dict[str, bytes]:
    """The files that belong to a tokenizer, by its tokens; those of another one are left out with a warning."""
    matching = {}
    for name, data in files.items():
        texts = [piece.text for piece in read_pieces(data) if piece.kind is Kind.NORMAL]
        common = sum(text in tokens for text in texts)
        if 2 * common >= len(texts):
            matching[name] = data
        else:
            _LOG.warning(
                "%s is left out: only %s of its %s pieces are tokens of tokenizer.json, so it belongs to another tokenizer",
                *(name, f"{common:,}", f"{len(texts):,}"),
            )
    return matching


def rewrite_sentencepiece(model: bytes, layout: Layout, special: Collection[str] = ()) -> bytes:
    """The teacher's model file with the pieces of a new vocabulary.

    There are two ways of numbering. Where the teacher's piece ``i`` is its token ``i`` (Gemma, Llama, T5), piece ``i``
    is token ``i`` of the layout again. Where they differ (fairseq's, in XLM-R: ``<unk>`` first, no ``<pad>``, no
    ``<mask>``), kept pieces stay in the file's order, and grafts and padding follow in the layout's.

    Kept pieces keep score and type. A graft has its own score or, in BPE where the order of scores is the order of
    merges, one below all others. The file's unknown, begin, end and padding pieces are kept, whatever
    ``tokenizer.json`` calls them: one that no token is called by belongs to the token of the same id, where ids are equal.

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
    of_token = {token: index[token] for token in kept if token in index}
    renamed = {index[name] for name in _named_pieces(model) if name in index} - set(of_token.values())
    added = dict(_added_pieces(layout, pieces))
    if all(kept[token] == i for token, i in of_token.items()):
        of_token |= {token: i for token, i in kept.items() if i in renamed}
        if any(pieces[i].kind is Kind.UNKNOWN for i in of_token.values()):
            new = added | {token: pieces[i] for token, i in of_token.items()}
            return with_pieces(model, [new.get(token) or _outside(token, special) for token in layout.tokens])
    return with_pieces(model, [*(pieces[i] for i in sorted({*of_token.values(), *renamed})), *added.values()])


def without_last_outside(layout: Layout, model: bytes) -> Layout:
    """The layout without its last tokens as far as the teacher's file lacks them, such as T5's ``<extra_id_0>``."""
    texts = {piece.text for piece in read_pieces(model)}
    end = len(layout)
    while end and layout.teacher_ids[end - 1] >= 0 and layout.tokens[end - 1] not in texts:
        end -= 1
    return replace(layout, tokens=layout.tokens[:end], teacher_ids=layout.teacher_ids[:end])


def _added_pieces(layout: Layout, teacher: Sequence[Piece]) -> Iterator[tuple[str, Piece]]:
    """Grafts and padding with their pieces, in the layout's order."""
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
    changed = {_VOCAB_SIZE: len(ids)}
    changed |= {id_field: ids.get(name, -1) for id_field, name in _named_ids(spec).items()}
    kept = [field for field in read_fields(spec) if field.number not in changed]
    return write_fields(_ascending([*kept, *(Field(number, VARINT, value) for number, value in changed.items())]))


def _named_ids(spec: bytes) -> dict[int, str]:
    """The pieces that ``TrainerSpec`` names, by the field of their id; without those that are switched off."""
    values = {field.number: field.value for field in read_fields(spec)}
    names = {}
    for id_field, name_field, default, default_name in _NAMED_IDS:
        name = values.get(name_field, default_name)
        if _number(values.get(id_field, default)) >= 0:
            names[id_field] = name.decode() if isinstance(name, bytes) else str(name)
    return names


def _named_pieces(model: bytes) -> set[str]:
    """The unknown piece, and those that the settings of training name."""
    unknown = {piece.text for piece in read_pieces(model) if piece.kind is Kind.UNKNOWN}
    specs = (field.value for field in read_fields(model) if field.number == _TRAINER_SPEC)
    return unknown.union(*(_named_ids(spec).values() for spec in specs if isinstance(spec, bytes)))


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
