"""The metrics of a run: one JSON object per line, live next to the checkpoints and at the end inside the student.

The lines that become part of the student hold nothing that depends on the clock, so that equal runs give equal bytes.
The live file adds each step's speed; it can be followed with ``tail -f``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langtailor.distillation.views import View
from langtailor.storage.artifacts import canonical_json

LIVE_NAME = "metrics.jsonl"


class Metrics:
    """Records the metrics of a run.

    Args:
        folder: where ``metrics.jsonl`` grows; ``None`` writes nothing there.
        lines: the lines of the run so far, as a checkpoint holds them.
        views: where the metrics are also seen.
    """

    def __init__(self, folder: Path | None, lines: Sequence[str] = (), views: Sequence[View] = ()) -> None:
        self.lines, self._views = list(lines), views
        self._live = None if folder is None else _open_live(folder / LIVE_NAME, len(self.lines))

    def record(self, step: int, values: Mapping[str, Any], speed: Mapping[str, float] | None = None) -> None:
        """Add a line.

        Args:
            step: steps done.
            values: the metrics, JSON-ready; nested mappings become paths in the views.
            speed: what depends on the clock; goes to the live file and the views alone.
        """
        line = {"step": step, **values}
        self.lines.append(canonical_json(line))
        if self._live is not None:
            self._live.write(canonical_json({**line, **(speed or {})}) + "\n")
            self._live.flush()
        if self._views:
            scalars = dict(_flat({**values, **(speed or {})}))
            for view in self._views:
                view.log(scalars, step)

    def records(self) -> list[dict[str, Any]]:
        """All lines so far, read back."""
        return [json.loads(line) for line in self.lines]

    def text(self) -> str:
        """All lines so far, as the student holds them."""
        return "".join(f"{line}\n" for line in self.lines)

    def close(self) -> None:
        """Close the live file."""
        if self._live is not None:
            self._live.close()


def _open_live(path: Path, keep: int) -> Any:
    """Open the live file after its first ``keep`` lines; later ones belong to steps that are repeated."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)[:keep] if path.is_file() else []
    stream = path.open("w", encoding="utf-8")
    stream.writelines(lines)
    return stream


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    scalars: list[tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            scalars += _flat(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            scalars.append((f"{prefix}{name}", float(value)))
    return scalars
