"""Settings of the vocabulary: size, what must stay, grafts."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from langtailor.config.base import Distinct, ModelPlace, Section, Share, UserPath, problem

#: Which characters stay: all, those of the corpus's scripts, or those of the corpus.
Alphabet = Literal["full", "scripts", "corpus"]


class GraftSettings(Section):
    """New tokens for the target languages."""

    policy: Literal["fixed", "marginal", "agreement"] = "fixed"
    """`fixed` offers `share` of the vocabulary to new tokens; `marginal` tries several shares and chooses the one whose
    tokenizer needs the fewest tokens for the validation split, each language relative to the teacher; `agreement`
    chooses the largest share, up to `share` if that is given, at which the untrained clone's vectors of the validation
    split stay within `tolerance` of those without new tokens."""
    share: Share = 0.0
    """Share of the vocabulary offered to new tokens; what they do not use goes to the teacher's tokens. A teacher that
    knows the language needs none: their rows cost it more than the shorter texts are worth."""
    tolerance: Annotated[float, Field(ge=0, le=1)] = 0.005
    """How much mean cosine to the teacher's stored vectors a language may lose to new tokens, with `agreement`."""
    donor: ModelPlace = "trained"
    """Source of new tokens: `trained` trains a tokenizer of the teacher's family on the target-language corpus;
    anything else is a Hub id or a folder whose tokenizer supplies the tokens."""
    donor_revision: str = "main"
    """Branch, tag or commit of a donor on the Hub."""
    tokens: UserPath | None = None
    """File of words, one per line, that become the only new tokens. They need not occur in the corpus. They get as many
    rows as they need, up to `share` if that is given; `donor` and `min_count` are not used."""
    min_count: Annotated[int, Field(ge=1)] = 2
    """Lowest count in the target-language train split at which a new token is worth a row."""

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
    """Per-language minimum: the most frequent tokens of each language that make up this share of its text's tokens are kept
    before any others, so that small languages are not crowded out."""
    ranking: Literal["frequency", "loss"] = "frequency"
    """How the remaining tokens are ranked: by weighted `frequency`, or by the `loss` from dropping a token, which is
    its weighted frequency times the squared distance (1 - cosine) of its row to the mean of the rows that would replace
    it."""
    alphabet: Alphabet = "full"
    """For tokenizers without byte fallback: keep all characters of scripts that are not large (`full`), those of the
    corpus's scripts and those that scripts share (`scripts`), or only those that occur in the corpus (`corpus`). Text
    of other characters becomes unknown. With `scripts` and `corpus`, a token that has one of these is not kept even if
    the budget has room."""
    min_count: Annotated[int, Field(ge=0)] = 0
    """Lowest count, weighted and over all languages, at which a teacher token is kept. With 0, tokens that never occur
    in the corpus fill the rest of the budget: first those that the teacher's rows make likeliest in other text of the
    languages."""
    keep_tokens: Distinct[str] = ()
    """Teacher tokens to keep whatever their count, in the vocabulary's own spelling."""
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
