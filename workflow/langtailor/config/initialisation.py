"""Settings of how a new token's row is made."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from langtailor.config.base import Section


class TokenDistillationSettings(Section):
    """Fit new rows so that the hidden states with a new token match those with its old pieces (arXiv 2505.20133)."""

    steps: Annotated[int, Field(ge=0)] = 0
    """Training steps for the new rows; 0 leaves them unchanged."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Passages per step."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Peak learning rate; it falls linearly to 0."""


class InitialisationSettings(Section):
    """How the row of a new token is made from the teacher's rows."""

    method: Literal[
        "agreement", "mean", "length-weighted", "norm-matched", "similarity", "aligned", "learned", "random"
    ] = "agreement"
    """`mean`: mean of the teacher's rows for the token's text (the paper's method); `length-weighted`: the same,
    weighted by characters; `norm-matched`: the mean rescaled to the kept rows' mean norm; `similarity`: weighted kept
    tokens near the mean (FOCUS-like); `aligned`: weighted teacher tokens that translate the token in the corpus's
    sentence pairs; `learned`: predicted from the rows of its pieces by a map learned on the teacher's own tokens, and
    averaged with `aligned` if the corpus has pairs; `random`: drawn from the teacher's distribution (the control).
    `agreement` makes the untrained clones of `mean`, `learned` and, if there are pairs, `aligned`, and chooses the one
    whose vectors of the target languages' validation text are nearest to the teacher's."""
    neighbours: Annotated[int, Field(ge=1)] = 8
    """Kept tokens that `similarity` combines."""
    temperature: Annotated[float, Field(gt=0)] = 0.1
    """Softmax temperature of `similarity` over cosine similarities."""
    token_distillation: TokenDistillationSettings = TokenDistillationSettings()
    """Further fitting of the rows that the method made."""

    @property
    def reads_corpus(self) -> bool:
        """Whether new rows depend on the corpus."""
        return self.method in ("agreement", "aligned", "learned") or self.token_distillation.steps > 0
