"""Settings of the teacher's vectors."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from langtailor.config.base import Section


class VectorSettings(Section):
    """How the teacher's vectors are computed and stored."""

    shard_passages: Annotated[int, Field(ge=1)] = 10_000
    """Passages in one shard: the unit of work of one job, and what an interrupted job loses."""
    batch_tokens: Annotated[int, Field(ge=1)] = 16_384
    """Tokens in one forward pass; halved when the device runs out of memory."""
