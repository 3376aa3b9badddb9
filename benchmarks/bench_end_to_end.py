"""The demo at many times its corpus: the whole workflow, and the same stages by the methods of the published scripts.

The corpus is the STS benchmark's train part in English and eleven translations of it, paired with English as the sample is,
``--times`` the demo's quotas; all else is the demo's configuration. ``langtailor`` is ``snakemake all`` into an empty
folder, with its certificate, intervals, card and report. The other side is ``published_methods.py``, one process that does
the same stages and nothing else. Both students must have learned about as much: cosine to the teacher's English vectors on
held-out Turkish.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import yaml
from measure import REPOSITORY, Row, alternate, environment, in_process, parser, start, write
from public_data import sts_sentences

_PIVOT, _TARGET = "en", "tr"
#: Documents offered for each one that the quotas ask for: some are dropped, and splits are drawn by hash.
_OFFERED = 1.4
#: How far below the other's cosine langtailor's student may lie.
_SLACK = 0.02


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--times", type=float, default=10.0, help="size of the corpus, in demos")
    made.add_argument("--epochs", type=float, help="passes over the corpus instead of the demo's")
    made.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    options = made.parse_args()
    start()
    with tempfile.TemporaryDirectory() as folder:
        case = Case.prepared(Path(folder), options)
        timed = alternate(
            {"langtailor": case.workflow, "published methods": case.script}, options.turns, case.check_alike
        )
        stages = case.stage_seconds()
    mine, other = (timed.made[side] for side in timed.wall)
    note = (
        f"{options.times:g} x the demo's corpus, {timed.seconds('langtailor'):.0f} s and "
        f"{timed.seconds('published methods'):.0f} s; held-out Turkish, cosine to the teacher's English {mine:.3f} and "
        f"{other:.3f}; ours with certificate, intervals and report"
    )
    ratio = timed.times("published methods", "langtailor")
    row = Row("end to end", "the published scripts' methods", ratio, 2, note=note)
    write(options.out, [row], {**timed.to_json(), "stage_seconds": stages})


@dataclass
class Case:
    """One corpus and one configuration for both sides.

    Attributes:
        root: folder of everything.
        config: the configuration.
        cores: how many Snakemake may use.
    """

    root: Path
    config: dict[str, Any]
    cores: int
    _turns: Any = field(default_factory=count)
    _last: Path = Path()

    @classmethod
    def prepared(cls, root: Path, options: Any) -> Case:
        """Write the texts and read the demo's configuration."""
        config = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text(encoding="utf-8"))
        quotas = {split: round(options.times * size) for split, size in config["corpus"]["quotas"].items()}
        texts = root / "texts"
        languages = _write_texts(options.data / "stsb", texts, round(_OFFERED * sum(quotas.values())))
        sources = {
            "pairs": {"kind": "files", "path": str(texts / "{lang}.tsv")},
            "pivot": {"kind": "files", "path": str(texts / "{lang}.txt")},
        }
        config["corpus"] |= {
            "sources": sources,
            "languages": {lang: {"source": "pivot" if lang == _PIVOT else "pairs"} for lang in languages},
            "quotas": quotas,
        }
        training = config["distillation"]
        # As many looks at the validation split as the demo has; the other side has none.
        training["validate_every"] = round(max(1, options.times) * training["validate_every"])
        if options.epochs:
            training["epochs"] = options.epochs
        return cls(root, config, options.cores)

    def workflow(self) -> float:
        """The whole workflow; returns the student's cosine to the teacher."""
        file = self._configured("langtailor")
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "all"]
        command += ["--cores", str(self.cores), "--directory", str(file.parent), "--configfile", str(file)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment())
        if done.returncode:
            raise RuntimeError(f"snakemake failed:\n{done.stderr[-3000:]}")
        self._last = file.parent / "results" / "demo"
        scores = json.loads((self._last / "evaluation" / "tailored" / "student" / "agreement.json").read_text())[
            "scores"
        ]
        return next(float(score["value"]) for score in scores if score["group"] == _TARGET)

    def script(self) -> float:
        """The published methods; returns the student's cosine to the teacher."""
        file = self._configured("published")
        script = str(Path(__file__).with_name("published_methods.py"))
        arguments = (str(self.root / "texts"), "--config", str(file), "--out", str(file.parent))
        return float(in_process(script, *arguments)[f"agreement {_TARGET}"])

    def check_alike(self, made: Mapping[str, float]) -> None:
        """Refuse a student that is worse than the other side's."""
        if made["langtailor"] < made["published methods"] - _SLACK:
            raise AssertionError(f"the students differ: {made}")

    def stage_seconds(self) -> dict[str, float]:
        """Seconds of all jobs of each rule in the last run, as Snakemake's benchmarks have them."""
        seconds: dict[str, float] = {}
        for rule in sorted((self._last / "benchmarks").iterdir()):
            files = [rule] if rule.is_file() else sorted(rule.rglob("*.tsv"))
            seconds[rule.stem] = round(sum(float(f.read_text().splitlines()[1].split("\t")[0]) for f in files), 1)
        return seconds

    def _configured(self, side: str) -> Path:
        folder = self.root / f"{side}-{next(self._turns)}"
        folder.mkdir()
        (folder / "config.yaml").write_text(yaml.safe_dump(self.config), encoding="utf-8")
        return folder / "config.yaml"


def _write_texts(sts: Path, folder: Path, lines: int) -> list[str]:
    """``en.txt`` and, for each other language, ``{lang}.tsv`` with the English of each sentence; returns the languages."""
    folder.mkdir()
    by_lang = {file.name.split("-")[1]: sts_sentences(file) for file in sorted(sts.glob("stsb-*-train.?sv"))}
    rows = [row for row in zip(*by_lang.values(), strict=True) if not any("\t" in text for text in row)]
    columns = dict(zip(by_lang, zip(*dict.fromkeys(rows), strict=True), strict=True))
    for lang, texts in columns.items():
        pairs = zip(texts[:lines], columns[_PIVOT][:lines], strict=True)
        if lang == _PIVOT:
            (folder / f"{lang}.txt").write_text("".join(f"{text}\n" for text, _ in pairs), encoding="utf-8")
        else:
            (folder / f"{lang}.tsv").write_text("".join(f"{text}\t{pair}\n" for text, pair in pairs), encoding="utf-8")
    return list(by_lang)


if __name__ == "__main__":
    main()
