"""Settings of the report."""

from __future__ import annotations

from langtailor.config.base import Section


class ReportSettings(Section):
    """The report page."""

    title: str | None = None
    """Heading of the page; `null` makes one from the run's name."""
