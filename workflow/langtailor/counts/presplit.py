"""Where raw text can be split so that its parts, tokenized one by one, give the tokens of the whole.

Most words of a corpus are repeated, and to look a word up is many times faster than to tokenize it. So counting wants
to tokenize each distinct word once. That is exact only where a word's tokens do not depend on its neighbours, which
has to be proved for each tokenizer.

**The splits.** A text is split before each space (U+0020). Texts in which a space follows white space or the mark
``▁``, or that begin with a space or end with white space or the mark, stay whole; so every part ends with a
non-whitespace character, whatever comes to stand behind it.

**The claim.** Let :func:`prove_presplit` hold. Then the tokens of a text are those of its first part followed by those
of its other parts, each tokenized behind any other text. The library works in this order
(``tokenizers/src/tokenizer/mod.rs``), and the claim is checked step by step:

1. *Added tokens* are found in the raw text, leftmost first, the longest first, and once more in the normalised text. No
   added token holds a non-whitespace character followed by a space, so no match reaches over a split, and each part
   finds its own. A token that swallows the space behind it (``rstrip``) changes the next part: words that end with one
   are *context-dependent*.
2. *The normalizer* runs on what lies between added tokens. Each supported one works character by character, or on
   combining sequences and graphemes, none of which continues with a space, but for rare characters and odd tables. So
   the step is tried on the last grapheme of each word; where the rest changes with it, the word is context-dependent.
   One that writes at the beginning (``Prepend``) makes words context-dependent that end with an added token.
3. *The pre-tokenizer* splits the text at every such place: it drops white space, or starts a piece with every space
   mark, or is a regular expression none of whose matches holds a non-whitespace character and a space behind it
   (:func:`langtailor.counts.split_pattern.splits_before_spaces`).
4. *The model* sees one piece at a time. Where nothing splits the text into pieces (Gemma, Llama), it is BPE, and no
   merge makes a token with another character before the space mark; so no merge ever joins the two sides of a split,
   and merges on one side do not see the other.

Texts with context-dependent words stay whole, too.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from langtailor.counts.split_pattern import splits_before_spaces
from langtailor.surgery.spec import added_tokens
from langtailor.surgery.spelling import components

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: A word before others, so that they do not stand at the start of a text.
PROBE = "x"
_MARK = "▁"
#: What Python takes for white space, a superset of what Rust and regular expressions do.
WHITE = "\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
#: Texts that stay whole, for RE2 (which Arrow uses) and Python alike.
WHOLE_TEXT = f"^ |[{WHITE}{_MARK}](?: |$)"
#: The characters that form a grapheme with what follows, even a space (Prepended_Concatenation_Mark and kin, UAX 29).
_PREPENDING = frozenset(
    map(chr, (*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0xD4E, 0x110BD, 0x110CD, 0x111C2, 0x111C3))
) | frozenset(map(chr, (0x113D1, 0x1193F, 0x11941, 0x11A3A, *range(0x11A84, 0x11A8A), 0x11D46, 0x11F02)))

#: Normalizers after which a word that ended in a non-whitespace character still does, whatever follows.
_HARMLESS = frozenset({"NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Prepend"})
#: Normalizers that work character by character, but may drop one or make it a space.
_CHARACTERWISE = frozenset({"BertNormalizer", "StripAccents", "Nmt"})
#: Normalizers whose work may depend on what stands beside a character.
_CONTEXTUAL = frozenset({"Precompiled", "Strip"})
_SPACE_RUNS = {"Regex": " {2,}"}
_DROPPING = frozenset({"BertPreTokenizer", "Whitespace", "WhitespaceSplit"})


@dataclass(frozen=True)
class Presplit:
    """Whether, and why, texts may be split at spaces.

    Attributes:
        holds: the proof holds.
        reason: what it rests on, or where it fails, in words.
        first_words_alike: a text's first word has the tokens that it has behind others.
    """

    holds: bool
    reason: str
    first_words_alike: bool = False
    _joins_cleanly: Callable[[str], bool] | None = None
    _resetting_tokens: tuple[str, ...] = ()

    @property
    def has_context_dependent_words(self) -> bool:
        """Whether there can be context-dependent words at all."""
        return self._joins_cleanly is not None or bool(self._resetting_tokens)

    def is_context_dependent(self, word: str) -> bool:
        """Whether what follows this word may be tokenized otherwise than behind other words."""
        if word[-1:] in self._last_characters and word.endswith(self._resetting_tokens):
            return True
        return self._joins_cleanly is not None and word != "" and not _ends_cleanly(word, self._joins_cleanly)

    @cached_property
    def _last_characters(self) -> frozenset[str]:
        return frozenset(content[-1] for content in self._resetting_tokens)


class _UnprovenError(Exception):
    """The proof fails; the message says where."""


def prove_presplit(spec: Mapping[str, Any], tokenizer: Tokenizer) -> Presplit:
    """Try to prove that texts may be split at spaces.

    Args:
        spec: content of ``tokenizer.json``.
        tokenizer: the same, loaded.
    """
    normalizer = tokenizer.normalizer
    normalize = normalizer.normalize_str if normalizer is not None else str
    try:
        space = _normalised_space(normalize)
        parts = list(components(spec, "normalizer"))
        resetting = _check_added_tokens(spec, normalize, restarts=_restarts(parts))
        reason, anywhere = _boundary(spec, space)
        contextual = _check_normalizers(parts, anywhere)
        first_words_alike = _first_words_alike(list(components(spec, "pre_tokenizer")))
    except _UnprovenError as unproven:
        return Presplit(False, str(unproven))
    joins = lru_cache(maxsize=None)(lambda tail: _joins_cleanly(tail, normalize, anywhere)) if contextual else None
    return Presplit(True, reason, first_words_alike, joins, resetting)


# -- 1. added tokens ---------------------------------------------------------------------------------------------------


def _check_added_tokens(spec: Mapping[str, Any], normalize: Callable[[str], str], *, restarts: bool) -> tuple[str, ...]:
    """Check that no added token reaches over a split; returns those that change what follows them."""
    resetting = []
    for content, entry in added_tokens(spec).items():
        forms = {content, normalize(content)} if entry["normalized"] else {content}
        if any(re.search(rf"[^\s{_MARK}][ {_MARK}]", form) for form in forms):
            raise _UnprovenError(f"the added token {content!r} contains a space")
        if content == PROBE or (entry["single_word"] and content.startswith(" ")):
            raise _UnprovenError(f"the added token {content!r} depends on the text around it")
        if entry["rstrip"] and entry["normalized"]:
            raise _UnprovenError(f"the added token {content!r} swallows spaces in normalised text")
        if entry["rstrip"] or (restarts and not entry["normalized"]):
            resetting.append(content)
    return tuple(resetting)


# -- 2. normalizers ----------------------------------------------------------------------------------------------------


def _normalised_space(normalize: Callable[[str], str]) -> str:
    """What the normalizer writes for a space: a single character."""
    one, two = normalize(PROBE), normalize(f"{PROBE} {PROBE}")
    space = two.removeprefix(one).removesuffix(PROBE)
    if two != f"{one}{space}{PROBE}" or len(space) != 1:
        raise _UnprovenError("the normalizer does not keep spaces apart from words")
    return space


def _check_normalizers(parts: Collection[Mapping[str, Any]], anywhere: bool) -> bool:
    """Check that the normalizers are known; returns whether the ends of words have to be checked.

    Args:
        parts: the normalizers.
        anywhere: the splits may lie behind any character.
    """
    contextual = False
    for part in parts:
        kind = part["type"]
        if kind in _HARMLESS or (kind == "Replace" and part["pattern"] == {"String": " "}):
            continue
        if kind in _CHARACTERWISE:
            contextual |= not anywhere
        elif kind in _CONTEXTUAL or (kind == "Replace" and _is_local(part["pattern"])):
            contextual = True
        else:
            raise _UnprovenError(f"nothing is known about the normalizer {kind} {part.get('pattern', '')}".strip())
    return contextual


def _is_local(pattern: Mapping[str, str]) -> bool:
    return pattern == _SPACE_RUNS or not set(pattern.get("String", " ")) & {" ", _MARK}


def _restarts(parts: Collection[Mapping[str, Any]]) -> bool:
    """Whether the text behind an added token is normalised otherwise than inside a text."""
    return any(part["type"] == "Prepend" or part.get("strip_left") for part in parts)


def _ends_cleanly(word: str, joins_cleanly: Callable[[str], bool]) -> bool:
    """Whether the word's last grapheme joins cleanly with what follows; a word that begins with a mark never does."""
    at = len(word) - 1
    while at > 0 and (unicodedata.category(word[at])[0] in "MC" or word[at - 1] in _PREPENDING):
        at -= 1
    return unicodedata.category(word[at])[0] not in "MC" and joins_cleanly(word[at:])


def _joins_cleanly(tail: str, normalize: Callable[[str], str], anywhere: bool) -> bool:
    """Whether a word with this end and the word behind it are normalised as they are apart."""
    one, two = normalize(PROBE), normalize(f"{PROBE} {PROBE}")
    before = normalize(PROBE + tail)
    after = normalize(f"{PROBE}{tail} {PROBE}")
    ends_in_non_space = before != "" and not (before[-1].isspace() or before[-1] == _MARK)
    return after == before + two.removeprefix(one) and (anywhere or ends_in_non_space)


# -- 3. pre-tokenizers -------------------------------------------------------------------------------------------------


def _boundary(spec: Mapping[str, Any], space: str) -> tuple[str, bool]:
    """Why pieces or tokens end at a split, and whether that is so behind any character, white space included."""
    for part in components(spec, "pre_tokenizer"):
        kind = part["type"]
        if kind == "Digits":
            continue  # parts digits from the rest, which moves no other boundary
        if kind in _DROPPING and space == " ":
            return f"{kind} drops white space", True
        if kind == "Metaspace" and part.get("split", True):
            return "Metaspace starts a piece with each space", True
        if kind == "ByteLevel" and part.get("use_regex", True) and space == " ":
            return "ByteLevel's pattern starts a piece with each space behind a word", False
        if kind == "Split" and _splits(part, space):
            return "the pattern of Split starts a piece with each space behind a word", False
        break
    return _check_merges(spec, space), False


def _first_words_alike(parts: Sequence[Mapping[str, Any]]) -> bool:
    """Whether white space is dropped and nothing in its stead tells the first word from others."""
    return bool(parts) and parts[0]["type"] in _DROPPING and all(p.get("prepend_scheme") != "first" for p in parts)


def _splits(part: Mapping[str, Any], space: str) -> bool:
    pattern = part["pattern"]
    if part.get("invert"):
        return False
    if "String" in pattern:
        return bool(pattern["String"] == space and part["behavior"] in ("Isolated", "MergedWithNext", "Removed"))
    return bool(space == " " and part["behavior"] == "Isolated" and splits_before_spaces(pattern["Regex"]))


# -- 4. merges ---------------------------------------------------------------------------------------------------------


def _check_merges(spec: Mapping[str, Any], space: str) -> str:
    model = spec["model"]
    if "merges" not in model:
        raise _UnprovenError("no pre-tokenizer is known to separate words")
    for option in ("ignore_merges", "dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(option):
            raise _UnprovenError(f"no pre-tokenizer separates words, and the model has {option}")
    mark = space
    for part in components(spec, "pre_tokenizer"):
        if part["type"] == "Metaspace":
            mark = part["replacement"]
        elif part["type"] != "Split" or part["pattern"] != {"String": " "} or mark == " ":
            raise _UnprovenError(f"the pre-tokenizer {part['type']} is not known to separate words")
    if mark not in model["vocab"]:
        raise _UnprovenError(f"the space is written {mark!r}, which is not a token")
    crossing = re.compile(f"[^{re.escape(mark)}]{re.escape(mark)}")
    for merge in model["merges"]:
        product = merge.replace(" ", "", 1) if isinstance(merge, str) else "".join(merge)
        if crossing.search(product):
            raise _UnprovenError(f"the token {product!r} spans a space")
    return f"no merge makes a token that holds {mark!r} behind another character"
