"""The loopback Hub, as each test of this folder wants it: empty and in good health."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from tests.conftest import HUB
from tests.hub.server import Hub

TOKEN = "hf_averysecrettokenindeed"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    HUB.clear()
    yield HUB
    HUB.clear()


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return TOKEN


@pytest.fixture
def said() -> Iterator[io.StringIO]:
    """Everything that we and the client log, at any level."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    loggers = {name: logging.getLogger(name) for name in ("langtailor", "huggingface_hub", "httpx2", "httpcore2")}
    levels = {name: logger.level for name, logger in loggers.items()}
    for logger in loggers.values():
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    yield stream
    for name, logger in loggers.items():
        logger.removeHandler(handler)
        logger.setLevel(levels[name])


@pytest.fixture
def writer(hub: Hub, token: str) -> Hub:
    """The hub with a token that may write."""
    hub.tokens[token] = True
    hub.uploads.writers[token] = {"someone"}
    return hub
