"""The loopback Hub, as each test of this folder wants it: empty and in good health."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import HUB
from tests.hub.server import Hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    HUB.clear()
    yield HUB
    HUB.clear()
