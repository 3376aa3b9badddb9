"""OpenVINO without what reports its use to its makers, and leaves a number for that in the home folder, where it is found."""

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402

__all__ = ["openvino"]
