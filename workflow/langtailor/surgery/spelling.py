"""How the two kinds of BPE spell text as tokens.

- *Byte-level*: each byte of the UTF-8 text is mapped to a printable letter (``Ġ`` is the space), so any text is made
  of 256 letters (Radford et al. 2019; ``bytes_char`` in ``tokenizers/src/pre_tokenizers/byte_level.rs``).
- *Byte fallback*: tokens are plain text with ``▁`` for the space; a character without a token is encoded as the byte
  tokens ``<0x00>`` ... ``<0xFF>`` (Kudo and Richardson 2018, SentencePiece's ``byte_fallback``).
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
    """How one kind of BPE spells text as tokens."""

    #: Tokens without which some text cannot be encoded.
    alphabet: tuple[str, ...]

    def surface(self, token: str) -> str | None:
        """The text of a token; ``None`` where its bytes are no valid text."""
        ...

    def spell(self, text: str) -> str:
        """The text in the vocabulary's spelling."""
        ...


class ByteLevelSpelling:
    """One letter for each byte."""

    alphabet = BYTE_LETTERS

    def surface(self, token: str) -> str | None:
        """The decoded bytes; ``None`` where they are not UTF-8, or the token is not spelled in byte letters."""
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
        mark: the space mark, usually ``▁``.
    """

    def __init__(self, mark: str) -> None:
        self.mark = mark
        # The mark belongs to the alphabet: its bytes would decode to the mark itself, not to a space.
        self.alphabet = (*BYTE_TOKENS, mark)

    def surface(self, token: str) -> str | None:
        """The token with spaces for marks; ``None`` for byte tokens, which are parts of characters."""
        return None if token in _BYTE_TOKEN_SET else token.replace(self.mark, " ")

    def spell(self, text: str) -> str:
        """The text with marks for spaces."""
        return text.replace(" ", self.mark)


_BYTE_TOKEN_SET = frozenset(BYTE_TOKENS)


def spelling_of(spec: Mapping[str, Any]) -> Spelling | None:
    """The spelling of a BPE ``tokenizer.json``; ``None`` when it encodes bytes in neither way."""
    both = (*components(spec, "pre_tokenizer"), *components(spec, "normalizer"))
    if any(component["type"] == "ByteLevel" for component in both):
        return ByteLevelSpelling()
    if spec["model"].get("byte_fallback"):
        return FallbackSpelling(space_mark(spec))
    return None


def space_mark(spec: Mapping[str, Any]) -> str:
    """What the normalizer or the pre-tokenizer replaces a space by; the space itself where neither does."""
    for component in (*components(spec, "normalizer"), *components(spec, "pre_tokenizer")):
        if component["type"] == "Replace" and component["pattern"] == {"String": " "}:
            return str(component["content"])
        if component["type"] == "Metaspace":
            return str(component["replacement"])
    return " "


def components(spec: Mapping[str, Any], section: str) -> Iterator[Mapping[str, Any]]:
    """The components of ``normalizer`` or ``pre_tokenizer`` in order, sequences flattened."""
    pending = [spec.get(section)]
    while pending:
        component = pending.pop(0)
        if component is None:
            continue
        if component["type"] == "Sequence":
            pending = [*(component.get("normalizers") or component.get("pretokenizers") or ()), *pending]
        else:
            yield component
