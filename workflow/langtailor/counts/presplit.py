"""Where raw text can be cut so that its parts, tokenized one by one, give the tokens of the whole.

Most words of a corpus are repeated, and to look a word up is many times faster than to tokenize it. So counting wants
to tokenize each distinct word once. That is exact only where a word's tokens do not depend on its neighbours, which
has to be proved for each tokenizer.

**The cuts.** A text is cut before each space (U+0020). Texts in which a space follows white space or the mark ``▁``,
or that begin with a space or end with white space, are left whole; so every cut has a black character on its left.

**The claim.** Let :func:`prove_presplit` hold. Then the tokens of a text are those of its first part followed by those
of its other parts, each tokenized behind any other text. The library works in this order
(``tokenizers/src/tokenizer/mod.rs``), and the claim is checked step by step:

1. *Added tokens* are found in the raw text, leftmost first, the longest first, and once more in the normalised text. No
   added token holds a black character followed by a space, so no match reaches over a cut, and each part finds its
   own. A token that swallows the space behind it (``rstrip``) changes the next part: words that end with one are
   *open*.
2. *The normalizer* runs on what lies between added tokens. Each supported one works character by character, or on
   combining sequences and graphemes, none of which continues with a space, but for rare characters and odd tables; so
   the step is tried on the last grapheme of each word, and where the rest changes with it, the word is open. One that
   writes at the beginning (``Prepend``) makes words open that end with an added token.
3. *The pre-tokenizer* parts the text at every such place: it drops white space, starts a piece with every space mark,
or
   is a regular expression none of whose matches holds a black character and a space behind it
   (:func:`_no_match_crosses`).
4. *The model* sees one piece at a time. Where nothing parts the pieces (Gemma, Llama), it is BPE, and no merge makes a
token
   with a black character before the space mark; so no merge ever joins the two sides of a cut, and merges on one side
   do not see the other.

Texts with open words are left whole, too.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from langtailor.surgery.spec import added_tokens
from langtailor.surgery.spelling import components

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: A word before others, so that they do not stand at the start of a text.
PROBE = "x"
_MARK = "▁"
#: What Python takes for white space, a superset of what Rust and regular expressions do.
WHITE = "\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
#: Texts that are left whole, for RE2 (which Arrow uses) and Python alike.
WHOLE_TEXT = f"^ |[{WHITE}{_MARK}] |[{WHITE}]$"
#: The characters that form a grapheme with what follows, even a space (Prepended_Concatenation_Mark and kin, UAX 29).
_PREPENDING = frozenset(
    map(chr, (*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0xD4E, 0x110BD, 0x110CD, 0x111C2, 0x111C3))
) | frozenset(map(chr, (0x113D1, 0x1193F, 0x11941, 0x11A3A, *range(0x11A84, 0x11A8A), 0x11D46, 0x11F02)))

#: Normalizers after which a word that ended in a black character still does, whatever follows.
_HARMLESS = frozenset({"NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Prepend"})
#: Normalizers that work character by character, but may drop one or make it a space.
_CHARACTERWISE = frozenset({"BertNormalizer", "StripAccents", "Nmt"})
#: Normalizers whose work may depend on what stands beside a character.
_CAREFUL = frozenset({"Precompiled", "Strip"})
_SPACE_RUNS = {"Regex": " {2,}"}
_DROPPING = frozenset({"BertPreTokenizer", "Whitespace", "WhitespaceSplit"})


@dataclass(frozen=True)
class Presplit:
    """Whether, and why, texts may be cut at spaces.

    Attributes:
        holds: the proof holds.
        reason: what it rests on, or where it fails, in words.
        heads_alike: a text's first word has the tokens that it has behind others.
    """

    holds: bool
    reason: str
    heads_alike: bool = False
    _joined: Callable[[str], bool] | None = None
    _resets: tuple[str, ...] = ()

    @property
    def may_be_open(self) -> bool:
        """Whether there are open words at all."""
        return self._joined is not None or bool(self._resets)

    def is_open(self, word: str) -> bool:
        """Whether what follows this word may be tokenized otherwise than behind other words."""
        if word[-1:] in self._last_of_resets and word.endswith(self._resets):
            return True
        return self._joined is not None and word != "" and _open(word, self._joined)

    @cached_property
    def _last_of_resets(self) -> frozenset[str]:
        return frozenset(content[-1] for content in self._resets)


class _UnprovenError(Exception):
    """The proof fails; the message says where."""


def prove_presplit(spec: Mapping[str, Any], tokenizer: Tokenizer) -> Presplit:
    """Try to prove that texts may be cut at spaces.

    Args:
        spec: content of ``tokenizer.json``.
        tokenizer: the same, loaded.
    """
    normalizer = tokenizer.normalizer
    normalize = normalizer.normalize_str if normalizer is not None else str
    try:
        space = _normalised_space(normalize)
        parts = list(components(spec, "normalizer"))
        resets = _check_added_tokens(spec, normalize, restarts=_restarts(parts))
        reason, anywhere = _boundary(spec, space)
        careful = _check_normalizers(parts, anywhere)
        heads_alike = _heads_alike(list(components(spec, "pre_tokenizer")))
    except _UnprovenError as unproven:
        return Presplit(False, str(unproven))
    joined = lru_cache(maxsize=None)(lambda tail: _joins_cleanly(tail, normalize, anywhere)) if careful else None
    return Presplit(True, reason, heads_alike, joined, resets)


# -- 1. added tokens ---------------------------------------------------------------------------------------------------


def _check_added_tokens(spec: Mapping[str, Any], normalize: Callable[[str], str], *, restarts: bool) -> tuple[str, ...]:
    """Check that no added token reaches over a cut; returns those that change what follows them."""
    resets = []
    for content, entry in added_tokens(spec).items():
        forms = {content, normalize(content)} if entry["normalized"] else {content}
        if any(re.search(rf"[^\s{_MARK}][ {_MARK}]", form) for form in forms):
            raise _UnprovenError(f"the added token {content!r} holds a space")
        if content == PROBE or (entry["single_word"] and content.startswith(" ")):
            raise _UnprovenError(f"the added token {content!r} depends on what stands around it")
        if entry["rstrip"] and entry["normalized"]:
            raise _UnprovenError(f"the added token {content!r} swallows spaces in normalised text")
        if entry["rstrip"] or (restarts and not entry["normalized"]):
            resets.append(content)
    return tuple(resets)


# -- 2. normalizers ----------------------------------------------------------------------------------------------------


def _normalised_space(normalize: Callable[[str], str]) -> str:
    """What the normalizer writes for a space: a single character."""
    one, two = normalize(PROBE), normalize(f"{PROBE} {PROBE}")
    space = two.removeprefix(one).removesuffix(PROBE)
    if two != f"{one}{space}{PROBE}" or len(space) != 1:
        raise _UnprovenError("the normalizer does not keep spaces apart from words")
    return space


def _check_normalizers(parts: Collection[Mapping[str, Any]], anywhere: bool) -> bool:
    """Check that the normalizers are known; returns whether the ends of words have to be looked at.

    Args:
        parts: the normalizers.
        anywhere: the cuts may lie behind any character.
    """
    careful = False
    for part in parts:
        kind = part["type"]
        if kind in _HARMLESS or (kind == "Replace" and part["pattern"] == {"String": " "}):
            continue
        if kind in _CHARACTERWISE:
            careful |= not anywhere
        elif kind in _CAREFUL or (kind == "Replace" and _is_local(part["pattern"])):
            careful = True
        else:
            raise _UnprovenError(f"nothing is known about the normalizer {kind} {part.get('pattern', '')}".strip())
    return careful


def _is_local(pattern: Mapping[str, str]) -> bool:
    return pattern == _SPACE_RUNS or not set(pattern.get("String", " ")) & {" ", _MARK}


def _restarts(parts: Collection[Mapping[str, Any]]) -> bool:
    """Whether the text behind an added token is normalised otherwise than inside a text."""
    return any(part["type"] == "Prepend" or part.get("strip_left") for part in parts)


def _open(word: str, joined: Callable[[str], bool]) -> bool:
    """Whether the word's last grapheme, or all of a word that begins with a mark, is not ``joined`` cleanly."""
    at = len(word) - 1
    while at > 0 and (unicodedata.category(word[at])[0] in "MC" or word[at - 1] in _PREPENDING):
        at -= 1
    return unicodedata.category(word[at])[0] in "MC" or not joined(word[at:])


def _joins_cleanly(tail: str, normalize: Callable[[str], str], anywhere: bool) -> bool:
    """Whether a word with this end and the word behind it are normalised as they are apart."""
    one, two = normalize(PROBE), normalize(f"{PROBE} {PROBE}")
    before = normalize(PROBE + tail)
    after = normalize(f"{PROBE}{tail} {PROBE}")
    black = before != "" and not (before[-1].isspace() or before[-1] == _MARK)
    return after == before + two.removeprefix(one) and (anywhere or black)


# -- 3. pre-tokenizers -------------------------------------------------------------------------------------------------


def _boundary(spec: Mapping[str, Any], space: str) -> tuple[str, bool]:
    """Why pieces or tokens end at a cut, and whether that is so behind any character, white ones too."""
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


def _heads_alike(parts: Sequence[Mapping[str, Any]]) -> bool:
    """Whether white space is dropped and nothing in its stead tells the first word from others."""
    return bool(parts) and parts[0]["type"] in _DROPPING and all(p.get("prepend_scheme") != "first" for p in parts)


def _splits(part: Mapping[str, Any], space: str) -> bool:
    pattern = part["pattern"]
    if part.get("invert"):
        return False
    if "String" in pattern:
        return bool(pattern["String"] == space and part["behavior"] in ("Isolated", "MergedWithNext", "Removed"))
    return bool(space == " " and part["behavior"] == "Isolated" and _no_match_crosses(pattern["Regex"]))


_ITEM = re.compile(
    r"""(?:(?P<set>\[\^?(?:\\[pP]\{\w+\}|\\.|[^\\\[\]&])+\])
      |(?P<class>\\[pP]\{\w+\}|\\[sSdDwWrntfv])
      |(?P<ahead>\(\?!\\S\))
      |(?P<group>\(\?i:[^\\()\[\]{}?*+.^$\s]+\))
      |(?P<literal>\\\W|[^\\()\[\]{}?*+.^$|]))
    (?P<times>[?*+]|\{\d+(?:,\d*)?\})?[?+]?""",
    re.VERBOSE,
)
#: Classes without a space (Unicode properties of letters, marks, numbers, punctuation and symbols among them).
_BLACK_CLASS = re.compile(r"\\[dwS]|\\p\{[LMNPS]\w?\}")
_WHITE_CLASS = re.compile(r"\\[srntfv]")


def _no_match_crosses(pattern: str) -> bool:
    r"""Whether every space behind a black character begins a match, by the pattern's form alone.

    Read is a choice between sequences of characters, sets and classes with their repetitions, as GPT-2, Qwen and Llama
    have them; anything else counts as unproven. In each sequence nothing that may be a space follows what may be
    black. So no match, and no attempt at one, goes on from a black character to a space, and what stands behind such a
    space has no say in the matches before it (the one lookahead allowed, ``(?!\S)``, sees a space as it sees the end).
    And ``\s+`` is one of the choices, so that no space is left between matches.
    """
    return r"\s+" in _alternatives(pattern) and all(map(_goes_straight, _alternatives(pattern)))


def _alternatives(pattern: str) -> list[str]:
    """The pattern's choices; those inside a group stay together."""
    return re.split(r"\|(?![^(]*\))", pattern)


def _goes_straight(sequence: str) -> bool:
    at, black_before = 0, False
    while at < len(sequence):
        item = _ITEM.match(sequence, at)
        if item is None:
            return False
        at = item.end()
        if item["ahead"]:
            continue
        space, black = _may_be(item)
        repeated = item["times"] not in (None, "?")
        if space and (black_before or (black and repeated)):
            return False
        black_before |= black
    return True


def _may_be(item: re.Match[str]) -> tuple[bool, bool]:
    """Whether an item of a pattern may match a space, and whether it may match a black character."""
    if item["group"]:
        return False, True
    if item["literal"]:
        return item["literal"][-1] == " ", not item["literal"][-1].isspace()
    if item["class"]:
        return _class_may_be(item["class"])
    inside = item["set"][1:-1].removeprefix("^")
    classes = [_class_may_be(name) for name in re.findall(r"\\[pP]\{\w+\}|\\[a-zA-Z]", inside)]
    if (True, True) in classes:
        return True, True
    rest = re.sub(r"\\[pP]\{\w+\}|\\[a-zA-Z]", "", inside)
    space = any(held for held, _ in classes) or (rest != "" and re.match(rf"[\0{rest}]", " ") is not None)
    if item["set"].startswith("[^"):
        return not space, True
    return space, rest.strip() != "" or any(held for _, held in classes)


def _class_may_be(name: str) -> tuple[bool, bool]:
    if _BLACK_CLASS.fullmatch(name):
        return False, True
    return (name == r"\s", False) if _WHITE_CLASS.fullmatch(name) else (True, True)


# -- 4. merges ---------------------------------------------------------------------------------------------------------


def _check_merges(spec: Mapping[str, Any], space: str) -> str:
    model = spec["model"]
    if "merges" not in model:
        raise _UnprovenError("no pre-tokenizer is known to part words")
    for option in ("ignore_merges", "dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(option):
            raise _UnprovenError(f"no pre-tokenizer parts words, and the model has {option}")
    mark = space
    for part in components(spec, "pre_tokenizer"):
        if part["type"] == "Metaspace":
            mark = part["replacement"]
        elif part["type"] != "Split" or part["pattern"] != {"String": " "} or mark == " ":
            raise _UnprovenError(f"the pre-tokenizer {part['type']} is not known to part words")
    if mark not in model["vocab"]:
        raise _UnprovenError(f"the space is written {mark!r}, which is no token")
    crossing = re.compile(f"[^{re.escape(mark)}]{re.escape(mark)}")
    for merge in model["merges"]:
        product = merge.replace(" ", "", 1) if isinstance(merge, str) else "".join(merge)
        if crossing.search(product):
            raise _UnprovenError(f"the token {product!r} reaches over a space")
    return f"no merge makes a token that holds {mark!r} behind another character"
