"""OpenVINO without telemetry.

The package ``openvino_telemetry``, where it is installed, reports each use to OpenVINO's makers, and writes a number that
identifies the user to the home folder. So it is hidden before OpenVINO is imported.
"""

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402

__all__ = ["openvino"]
