"""How the page writes numbers, and what it shows of a text."""

from __future__ import annotations

from collections.abc import Mapping


def duration(seconds: float) -> str:
    """Seconds as ``2 min 05 s``, or as ``4.2 s`` below a minute."""
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)} min {rest:02.0f} s" if minutes else f"{rest:.1f} s"


def figure(value: float) -> str:
    """A score: three decimals up to 1, beyond that two."""
    return f"{value:.3f}" if abs(value) <= 1 else f"{value:.2f}"


def millions(count: int) -> str:
    """A count in millions, with one decimal."""
    return f"{count / 1e6:.1f} M"


def percent(share: float | None) -> str:
    """A share in percent, with one decimal; empty for ``None``."""
    return "" if share is None else f"{100 * share:.1f} %"


def two_decimals(value: float | None) -> str:
    """A number with two decimals; empty for ``None``."""
    return "" if value is None else f"{value:.2f}"


def dropped_texts(counts: Mapping[str, int]) -> str:
    """How many texts were dropped for each reason, as ``near duplicate 1,001, short 3``; ``nothing`` where none was."""
    return ", ".join(f"{reason.replace('_', ' ')} {count:,}" for reason, count in sorted(counts.items())) or "nothing"


def beginning(text: str, longest: int) -> str:
    """A text, or its first words up to so many characters."""
    if len(text) <= longest:
        return text
    start = text[:longest]
    return start.rpartition(" ")[0] or start
