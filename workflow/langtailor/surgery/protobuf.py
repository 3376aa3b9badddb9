"""Reading and writing protobuf messages field by field, without their descriptions and without a dependency.

Source: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

#: Wire types.
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {FIXED64: 8, FIXED32: 4}


class Field(NamedTuple):
    """One field of a message: the value is an int for varints and raw bytes otherwise."""

    number: int
    wire_type: int
    value: int | bytes


def read_fields(message: bytes) -> Iterator[Field]:
    """The fields of a message, in order.

    Raises:
        ValueError: the bytes are no message.
    """
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        wire_type, value = key & 7, b""
        if wire_type == VARINT:
            number, at = _read_varint(message, at)
            yield Field(key >> 3, wire_type, number)
            continue
        if wire_type == BYTES:
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
            out += (_varint(len(value)) if wire_type == BYTES else b"") + value
    return bytes(out)


def signed(value: int) -> int:
    """The signed number behind a varint, which stores negative ones as 64-bit two's complement."""
    return value - (1 << 64) if value >> 63 else value


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
