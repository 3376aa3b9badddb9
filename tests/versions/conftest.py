"""The small run of the installed versions, which other versions read."""

from tests.workflow.conftest import finished, workflow  # noqa: F401
