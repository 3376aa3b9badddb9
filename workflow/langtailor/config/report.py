"""Settings of the report."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from langtailor.config.base import Section


class ReportSettings(Section):
    """The report page."""

    title: str | None = None
    """Heading of the page; `null` makes one from the run's name."""
    tolerance: Annotated[float, Field(ge=0, le=100)] = 3.0
    """Percentage of the teacher's figure that a student may lose on each task; with several variants, the report names
    the smallest that loses no more."""
