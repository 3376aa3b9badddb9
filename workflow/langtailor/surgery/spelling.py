"""How the two kinds of BPE write text into token names, and back.

- *Byte-level*: each byte of the UTF-8 text has a printable letter of its own (``Ġ`` is the space), so any text is
  made of 256 letters (Radford et al. 2019; ``bytes_char`` in ``tokenizers/src/pre_tokenizers/byte_level.rs``).
- *Byte fallback*: tokens are plain text with ``▁`` for the space; a character without a token of its own is written as
  the byte tokens ``<0x00>`` ... ``<0xFF>`` (Kudo and Richardson 2018, SentencePiece's ``byte_fallback``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

BYTE_TOKENS = tuple(f"<0x{byte:02X}>" for byte in range(256))


def _byte_letters() -> list[str]:
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    shifted = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(shifted)) for byte in range(256)]


BYTE_LETTERS = tuple(_byte_letters())
_BYTE_OF = {letter: byte for byte, letter in enumerate(BYTE_LETTERS)}


class Spelling(Protocol):
    """How one kind of BPE writes text into token names."""

    #: Tokens without which some text cannot be written.
    alphabet: tuple[str, ...]

    def surface(self, token: str) -> str | None:
        """The text a token stands for; ``None`` when it is no whole text."""
        ...

    def spell(self, text: str) -> str:
        """Text in the vocabulary's spelling."""
        ...


class ByteLevelSpelling:
    """One letter a byte."""

    alphabet = BYTE_LETTERS

    def surface(self, token: str) -> str | None:
        """The decoded bytes; ``None`` where they are no UTF-8 or the token is not written in byte letters."""
        try:
            return bytes(_BYTE_OF[letter] for letter in token).decode()
        except (KeyError, UnicodeDecodeError):
            return None

    def spell(self, text: str) -> str:
        """The UTF-8 bytes as letters."""
        return "".join(BYTE_LETTERS[byte] for byte in text.encode())


class FallbackSpelling:
    """Plain text with a mark for the space.

    Args:
        mark: what stands for the space, usually ``▁``.
    """

    def __init__(self, mark: str) -> None:
        self.mark = mark
        # The mark belongs to the alphabet: its bytes would decode to the mark itself, not to a space.
        self.alphabet = (*BYTE_TOKENS, mark)

    def surface(self, token: str) -> str | None:
        """The token with spaces for marks; ``None`` for byte tokens, which stand for parts of characters."""
        return None if token in _BYTE_TOKEN_SET else token.replace(self.mark, " ")

    def spell(self, text: str) -> str:
        """The text with marks for spaces."""
        return text.replace(" ", self.mark)


_BYTE_TOKEN_SET = frozenset(BYTE_TOKENS)


def spelling_of(spec: Mapping[str, Any]) -> Spelling | None:
    """The spelling of a BPE ``tokenizer.json``; ``None`` when it writes bytes in neither way."""
    parts = (*components(spec, "pre_tokenizer"), *components(spec, "normalizer"))
    if any(part["type"] == "ByteLevel" for part in parts):
        return ByteLevelSpelling()
    if spec["model"].get("byte_fallback"):
        return FallbackSpelling(space_mark(spec))
    return None


def space_mark(spec: Mapping[str, Any]) -> str:
    """What the normalizer or the pre-tokenizer writes for a space; the space itself where neither changes it."""
    for part in (*components(spec, "normalizer"), *components(spec, "pre_tokenizer")):
        if part["type"] == "Replace" and part["pattern"] == {"String": " "}:
            return str(part["content"])
        if part["type"] == "Metaspace":
            return str(part["replacement"])
    return " "


def components(spec: Mapping[str, Any], section: str) -> Iterator[Mapping[str, Any]]:
    """The parts of ``normalizer`` or ``pre_tokenizer``, sequences unrolled."""
    waiting = [spec.get(section)]
    while waiting:
        part = waiting.pop(0)
        if part is None:
            continue
        if part["type"] == "Sequence":
            waiting = [*(part.get("normalizers") or part.get("pretokenizers") or ()), *waiting]
        else:
            yield part
