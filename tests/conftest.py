"""No test reaches the real Hub: its client reads its variables once, on import, so a loopback Hub is named before."""

import os
import re
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """Of ``--dist loadfile``: the tests of a file share a worker, and those of all files that read the finished small run."""
    return _ByFile(config, log) if config.getvalue("dist") == "loadfile" else None


class _ByFile(LoadScopeScheduling):
    """Not by marks (``--dist loadgroup``), which xdist 3.8 does not see with pytest 9.2."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "finished" if reads_finished_run(self.config.rootpath / file) else file


@cache
def reads_finished_run(file: Path) -> bool:
    """Whether tests of a file ask for the fixture ``finished``."""
    return re.search(r"^def \w+\([^)]*\bfinished\b", file.read_text(encoding="utf-8"), re.MULTILINE) is not None
