from dataclasses import replace

import pytest

from langtailor.hub import PATIENCE
from tests.conftest import HUB


@pytest.fixture
def hub(monkeypatch):
    """The loopback hub, empty, and a client that is as persistent as ever but waits less."""
    HUB.reset()
    usual = replace(PATIENCE)
    monkeypatch.setattr("langtailor.hub.time.sleep", lambda _: None)
    # The one object that every function of the client takes as its default.
    object.__setattr__(PATIENCE, "timeout", 1.5)
    yield HUB
    object.__setattr__(PATIENCE, "timeout", usual.timeout)
    HUB.reset()
