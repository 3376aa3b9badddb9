"""No test reaches the real hub: the client is pointed at a loopback one before anything imports it."""

import os
import tempfile

from tests.hub.server import LoopbackHub

HUB = LoopbackHub()
os.environ["HF_ENDPOINT"] = HUB.url
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="langtailor-hf-")
os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DOWNLOAD_TIMEOUT"] = "2"
os.environ["HF_HUB_ETAG_TIMEOUT"] = "2"
os.environ.pop("HF_TOKEN", None)
