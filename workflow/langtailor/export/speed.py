"""How fast an export is in a process that imports nothing but what it needs.

Run as a module it is that process: ``python -m langtailor.export.speed FORMAT FILE FOLDER TEXTS THREADS``, where TEXTS is
a JSON list.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from langtailor.export.certificate import ClientSpeed
from langtailor.export.format import Format, find_format
from langtailor.export.formats import register_formats
from langtailor.models.child_process import child_environment

#: Sentences of a batch, and single ones behind the latency.
_BATCH, _SINGLE = 32, 100


def measure(made: Format, file: Path, folder: Path, texts: Path, threads: int) -> ClientSpeed:
    """Measure an export in a process of its own.

    Args:
        made: its format.
        file: the export's file.
        folder: the folder that has its tokenizer.
        texts: a JSON file with a list of sentences.
        threads: of each call.
    """
    command = [sys.executable, "-m", __name__, made.name, *map(str, (file, folder, texts, threads))]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=child_environment())
    return ClientSpeed(**json.loads(done.stdout.splitlines()[-1]))


def _measure(name: str, file: Path, folder: Path, texts: list[str], threads: int) -> dict[str, Any]:
    open_file = find_format(name).client()
    started = time.perf_counter()
    client = open_file(file, folder, threads)
    loaded = time.perf_counter() - started
    batches = [texts[start : start + _BATCH] for start in range(0, len(texts), _BATCH)]
    client(batches[-1])
    started = time.perf_counter()
    for batch in batches:
        client(batch)
    seconds = time.perf_counter() - started
    single = []
    for text in texts[:_SINGLE]:
        started = time.perf_counter()
        client([text])
        single.append(1_000 * (time.perf_counter() - started))
    return {
        "threads": threads,
        "sentences_per_s": round(len(texts) / seconds, 1),
        "latency_ms": round(statistics.median(single), 2),
        "latency_95_ms": round(float(np.percentile(single, 95)), 2),
        "load_s": round(loaded, 2),
        "memory_mb": round(_peak_memory_kb() / 1024, 1),
    }


def _peak_memory_kb() -> int:
    """Most memory that this process had since its program started.

    ``ru_maxrss`` would count what the process that started it had, too, as a child begins as its copy.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    register_formats()
    name, *places, threads = sys.argv[1:]
    file, folder, texts = map(Path, places)
    print(json.dumps(_measure(name, file, folder, json.loads(texts.read_text(encoding="utf-8")), int(threads))))
