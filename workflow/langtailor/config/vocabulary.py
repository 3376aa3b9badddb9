"""Settings of the vocabulary: size, what must stay, grafts."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from langtailor.config.base import Distinct, ModelPlace, Section, Share, UserPath, problem


class GraftSettings(Section):
    """New tokens for the target languages."""

    policy: Literal["fixed", "marginal", "agreement"] = "fixed"
    """`fixed` offers `share` of the vocabulary to new tokens; `marginal` tries several shares and takes the one whose
    tokenizer spends the fewest tokens on the validation split, each language relative to the teacher; `agreement` takes
    the largest share, up to `share` where that is given, at which the untrained clone's vectors of the validation split
    stay within `tolerance` of those without new tokens."""
    share: Share = 0.0
    """Share of the vocabulary offered to new tokens; what they leave goes to the teacher's. A teacher that knows the
    language needs none: their rows cost it more than the shorter texts are worth."""
    tolerance: Annotated[float, Field(ge=0, le=1)] = 0.005
    """Mean cosine to the teacher's stored vectors that `agreement` lets a language lose to new tokens."""
    donor: ModelPlace = "trained"
    """`trained` trains a tokenizer of the teacher's family on the target-language corpus; anything else is a Hub id or
    a folder whose tokenizer gives its tokens."""
    donor_revision: str = "main"
    """Branch, tag or commit of a donor on the Hub."""
    tokens: UserPath | None = None
    """File of words, one a line, that become tokens, and nothing else does. They need not occur in the corpus. As many
    rows are taken as they need, up to `share` where that is given; `donor` and `min_count` are not used."""
    min_count: Annotated[int, Field(ge=1)] = 2
    """Count in the target-language train split under which a new token is not worth a row."""

    @property
    def offers_rows(self) -> bool:
        """Whether there may be new tokens."""
        return self.share > 0 or self.policy != "fixed" or self.tokens is not None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.tokens is not None and (self.donor != "trained" or self.policy != "fixed"):
            other = "donor" if self.donor != "trained" else "policy"
            raise problem(other, f"found {getattr(self, other)!r}, but `tokens` names the words; give one of the two")
        return self


class VocabularySettings(Section):
    """Which tokens the student has."""

    size: Annotated[int, Field(ge=1)] = 16_384
    """Rows of the new embedding table: the budget for all tokens together."""
    pad_to_multiple_of: Annotated[int, Field(ge=1)] = 1
    """The table is padded with unused rows to a multiple of this; padding counts towards `size`."""
    coverage: Share = 0.9
    """Per-language minimum: the most frequent tokens of each language that make up this share of its tokens come before
    the remaining ones, so that small languages are not drowned."""
    ranking: Literal["frequency", "loss"] = "frequency"
    """How the remaining tokens compete: by weighted `frequency`, or by the `loss` of leaving one out: its weighted
    frequency times the squared distance (1 - cosine) of its row to the mean of the rows that would replace it."""
    alphabet: Literal["full", "corpus"] = "full"
    """For tokenizers that cannot write unknown characters in bytes: keep all characters of scripts that are not large
    (`full`), or only those that occur in the corpus (`corpus`), so that text in other scripts becomes unknown."""
    min_count: Annotated[int, Field(ge=0)] = 1
    """Count, weighted and over all languages, under which a teacher token is not kept. With 0, tokens that never occur in
    the corpus fill what is left of the budget, in the teacher's order."""
    keep_tokens: Distinct[str] = ()
    """Tokens of the teacher that are kept whatever their count, in the vocabulary's own spelling."""
    drop_pattern: str | None = None
    """Regular expression; teacher tokens whose text it matches anywhere are dropped."""
    graft: GraftSettings = GraftSettings()
    """New tokens for the target languages."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.drop_pattern is not None:
            try:
                re.compile(self.drop_pattern)
            except re.error as error:
                found = f"found {self.drop_pattern!r}, which is not a regular expression"
                raise problem("drop_pattern", f"{found}: {error}") from error
        if self.size % self.pad_to_multiple_of:
            raise problem(
                "size", f"found {self.size}; it must be a multiple of pad_to_multiple_of, {self.pad_to_multiple_of}"
            )
        return self
