r"""Whether a tokenizer's regular expression splits text at every space behind a non-whitespace character.

Read is a choice between sequences of characters, sets and classes with their repetitions, as GPT-2, Qwen and Llama have
them. Whatever else a pattern holds counts as unproven.
"""

from __future__ import annotations

import re

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
_NON_SPACE_CLASS = re.compile(r"\\[dwS]|\\p\{[LMNPS]\w?\}")
#: Classes of white space alone.
_SPACE_CLASS = re.compile(r"\\[srntfv]")


def splits_before_spaces(pattern: str) -> bool:
    r"""Whether every space behind a non-whitespace character begins a match, by the pattern's form alone.

    In each sequence nothing that may be a space follows what may be a non-whitespace character. So no match, and no
    attempt at one, goes on from such a character to a space, and what stands behind the space has no say in the matches
    before it. (The one lookahead allowed, ``(?!\S)``, sees a space as it sees the end.) And ``\s+`` is one of the
    choices, so that no space is left between matches.
    """
    return r"\s+" in _alternatives(pattern) and all(map(_never_reaches_a_space, _alternatives(pattern)))


def _alternatives(pattern: str) -> list[str]:
    """The pattern's choices; those inside a group stay together."""
    return re.split(r"\|(?![^(]*\))", pattern)


def _never_reaches_a_space(sequence: str) -> bool:
    """Whether no part of a sequence that may be a space follows one that may be a non-whitespace character."""
    at, after_non_space = 0, False
    while at < len(sequence):
        item = _ITEM.match(sequence, at)
        if item is None:
            return False
        at = item.end()
        if item["ahead"]:
            continue
        space, non_space = _may_match(item)
        repeated = item["times"] not in (None, "?")
        if space and (after_non_space or (non_space and repeated)):
            return False
        after_non_space |= non_space
    return True


def _may_match(item: re.Match[str]) -> tuple[bool, bool]:
    """Whether an item of a pattern may match a space, and whether it may match a non-whitespace character."""
    if item["group"]:
        return False, True
    if item["literal"]:
        return item["literal"][-1] == " ", not item["literal"][-1].isspace()
    if item["class"]:
        return _class_may_match(item["class"])
    inside = item["set"][1:-1].removeprefix("^")
    classes = [_class_may_match(name) for name in re.findall(r"\\[pP]\{\w+\}|\\[a-zA-Z]", inside)]
    if (True, True) in classes:
        return True, True
    rest = re.sub(r"\\[pP]\{\w+\}|\\[a-zA-Z]", "", inside)
    space = any(matches for matches, _ in classes) or (rest != "" and re.match(rf"[\0{rest}]", " ") is not None)
    if item["set"].startswith("[^"):
        return not space, True
    return space, rest.strip() != "" or any(matches for _, matches in classes)


def _class_may_match(name: str) -> tuple[bool, bool]:
    if _NON_SPACE_CLASS.fullmatch(name):
        return False, True
    return (name == r"\s", False) if _SPACE_CLASS.fullmatch(name) else (True, True)
