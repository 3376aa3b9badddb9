"""What is done to a text before it becomes a passage.

:func:`clean` removes what is no text: markup that an extractor left behind, control and invisible characters, runs of
white space. :func:`rejection_reason` says why a passage is not worth keeping.
"""

from __future__ import annotations

import html
import re
import sys
import unicodedata
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from langtailor.config.corpus import CleaningSettings

_BLOCKS = (
    "address|article|blockquote|br|center|dd|div|dl|dt|figure|footer|h[1-6]|header|hr|li|ol|p|pre|section|table|tr|ul"
)
_INLINE = (
    "a|abbr|b|bdi|bdo|big|body|button|caption|cite|code|col|colgroup|data|del|dfn|em|figcaption|font|form|gallery|head|"
    "html|i|iframe|img|includeonly|input|ins|kbd|label|link|main|mark|math|meta|nav|noinclude|nowiki|object|onlyinclude|option|"
    "poem|q|ref|references|rp|rt|ruby|s|samp|script|select|small|source|span|strike|strong|style|sub|sup|"
    "syntaxhighlight|tbody|td|templatestyles|tfoot|th|thead|time|timeline|title|tt|u|var|video|wbr"
)
# Every pattern is linear or has a bounded reach, so that no text makes it slow. Runs of spaces have been collapsed by then.
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_COMMENT = re.compile(r"<!--.{0,5000}?-->", re.DOTALL)
_HIDDEN = re.compile(
    r"<(ref|script|style|math|gallery|timeline)\b[^<>]{0,500}(?<!/)>.{0,5000}?</\1 ?>", re.DOTALL | re.IGNORECASE
)
_BLOCK_TAG = re.compile(rf"</?(?:{_BLOCKS})\b[^<>]{{0,500}}>", re.IGNORECASE)
_INLINE_TAG = re.compile(rf"</?(?:{_INLINE})\b[^<>]{{0,500}}>", re.IGNORECASE)
_TEMPLATE = re.compile(r"\{\{[^{}]*\}\}")
_WIKI_TABLE = re.compile(r"\{\|[^{}]*\|\}")
_WIKI_LINK = re.compile(r"\[\[([^\[\]]*)\]\]")
_UNSHOWN_LINK = re.compile(r" ?(?:file|image|media|category) ?:", re.IGNORECASE)
_WEB_LINK = re.compile(r"\[(?:https?:|ftp:)?//[^\s\[\]]{1,2000} ?([^\[\]]*)\]")
_HEADING = re.compile(r"^ ?(={2,6}) ?(.*?) ?\1 ?$", re.MULTILINE)
_EMPHASIS = re.compile(r"'{2,5}")
_MAGIC_WORD = re.compile(r"__[A-Z]{3,}__")
_NESTING = 4

_NEWLINE = re.compile("\r\n?|[\x0b\x0c\x85\u2028]")
#: Controls, soft hyphen, zero-width space and word joiner, byte order mark, bidirectional controls, interlinear
#: annotation, noncharacters. Joiners have a pattern of their own.
_JUNK = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufdd0-\ufdef\ufeff\ufff9-\ufffb"
    "\ufffe\uffff]"
)
#: Joiners shape what stands before them in Arabic, Indic and South-East Asian scripts, in Mongolian and in emoji. After
#: Latin, Greek, Cyrillic, Armenian and CJK, after white space or another joiner, and at the start they mean nothing.
_IDLE_JOINER = re.compile("(?:^|(?<=[\\s\x00-\u058f\u2000-\u2070\u2e80-\ua4cf\uac00-\ud7af]))[\u200c\u200d]+")
_SPACES = re.compile(r"[^\S\n]+")
_LINE_END = re.compile(" ?\n ?")
_PARAGRAPH_END = re.compile("\n{2,}")


def clean(text: str) -> str:
    """A text without markup, control and invisible characters, in NFC.

    White space is one space, one newline at the end of a line, or two at the end of a paragraph. The wording stays.
    """
    if "&" in text:
        text = _repeatedly(_ENTITY, _character, text)
    text = _NEWLINE.sub("\n", text).replace("\u2029", "\n\n")
    text = _SPACES.sub(" ", _JUNK.sub("", text))
    text = _without_markup(text)
    if "\u200c" in text or "\u200d" in text:
        text = _IDLE_JOINER.sub("", text)
    text = unicodedata.normalize("NFC", text)
    return _PARAGRAPH_END.sub("\n\n", _LINE_END.sub("\n", _SPACES.sub(" ", text))).strip()


def rejection_reason(text: str, settings: CleaningSettings) -> str | None:
    """Why a cleaned passage is dropped (``short`` or ``few_letters``), or ``None``."""
    if len(text) < settings.min_characters:
        return "short"
    if letter_share(text) < settings.min_letter_share:
        return "few_letters"
    return None


def letter_share(text: str) -> float:
    """Letters and combining marks over all characters but white space; 0 for an empty text."""
    weights = _letter_weights()[np.frombuffer(text.encode("utf-32-le"), np.uint32)]
    visible = np.count_nonzero(weights >= 0)
    return float(np.count_nonzero(weights > 0) / visible) if visible else 0.0


def _without_markup(text: str) -> str:
    if "<" in text:
        text = _HIDDEN.sub("", _COMMENT.sub("", text))
        text = _INLINE_TAG.sub("", _BLOCK_TAG.sub("\n", text))
    if "{" in text:
        text = _WIKI_TABLE.sub("", _repeatedly(_TEMPLATE, _nothing, text))
    if "[" in text:
        text = _WEB_LINK.sub(r"\1", _repeatedly(_WIKI_LINK, _label, text))
    if "==" in text:
        text = _HEADING.sub(r"\2", text)
    return _MAGIC_WORD.sub("", _EMPHASIS.sub("", text))


def _repeatedly(pattern: re.Pattern[str], replace: Callable[[re.Match[str]], str], text: str) -> str:
    """Replace from the inside out, as what is nested shows up."""
    for _ in range(_NESTING):
        text, replaced = pattern.subn(replace, text)
        if not replaced:
            break
    return text


def _nothing(_: re.Match[str]) -> str:
    return ""


def _character(entity: re.Match[str]) -> str:
    return html.unescape(entity[0])


def _label(link: re.Match[str]) -> str:
    return "" if _UNSHOWN_LINK.match(link[1]) else link[1].rpartition("|")[2]


@cache
def _letter_weights() -> NDArray[np.int8]:
    """By code point: 1 for letters and marks, 0 for other characters, -1 for white space."""
    weights = np.zeros(sys.maxunicode + 1, np.int8)
    for point in range(sys.maxunicode + 1):
        character = chr(point)
        if unicodedata.category(character)[0] in "LM":
            weights[point] = 1
        elif character.isspace():
            weights[point] = -1
    return weights
