"""No test reaches the real Hub: its client reads its variables once, on import, so a loopback Hub is named before."""

import os
import tempfile

import pytest
from hypothesis import settings

from tests.hub.server import Hub

HUB = Hub()
_HOME = tempfile.TemporaryDirectory(prefix="langtailor-hub-")
os.environ |= {
    "HF_ENDPOINT": HUB.endpoint,
    "HF_HOME": _HOME.name,
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    "NO_PROXY": "127.0.0.1",
}
for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"):
    os.environ.pop(name, None)

# Whether a property holds does not depend on how busy the machine is.
settings.register_profile("langtailor", deadline=None)
settings.load_profile("langtailor")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a file share a worker, and all that look at the finished small run do, so that it is made once."""
    for item in items:
        group = "finished" if "finished" in getattr(item, "fixturenames", ()) else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
