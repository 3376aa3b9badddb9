"""Turn public sentence-pair files into a corpus for `benchmarks/public-data.yaml`.

    python benchmarks/public_data.py DATA OUT

DATA holds `stsb/stsb-{en-train.csv,tr-train.tsv}` (STS benchmark and its Turkish translation, line by line) and
`tatoeba/*.eng`. OUT gets `tr.tsv` (Turkish, tab, English) and `en.txt` from the former: development splits and Tatoeba
stay out, for they are what is evaluated on. `english.txt` has all English sentences of both, for `benchmarks/pruning.yaml`,
which trains nothing and looks at the development split alone.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path


def english(path: Path) -> list[str]:
    """Both sentences of each pair, in order."""
    with path.open(newline="", encoding="utf-8") as stream:
        return [sentence for row in csv.reader(stream) for sentence in row[:2]]


def turkish(path: Path) -> list[str]:
    """Both sentences of each pair, in order; the file has a header and bare quotation marks."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [sentence for row in rows for sentence in (row["sentence1"], row["sentence2"])]


def main(data: Path, out: Path) -> None:
    """Write the two files, each sentence once."""
    en = english(data / "stsb" / "stsb-en-train.csv")
    tr = turkish(data / "stsb" / "stsb-tr-train.tsv")
    if len(en) != len(tr):
        raise SystemExit(f"{len(en)} English and {len(tr)} Turkish sentences do not pair up")
    out.mkdir(parents=True, exist_ok=True)
    pairs = {source: target for source, target in zip(tr, en, strict=True) if "\t" not in source + target}
    lines = "".join(f"{source}\t{target}\n" for source, target in pairs.items())
    (out / "tr.tsv").write_text(lines, encoding="utf-8")
    (out / "en.txt").write_text("".join(f"{sentence}\n" for sentence in dict.fromkeys(en)), encoding="utf-8")
    tatoeba = (line for file in sorted((data / "tatoeba").glob("*.eng")) for line in _lines(file))
    (out / "english.txt").write_text("".join(f"{line}\n" for line in dict.fromkeys([*en, *tatoeba])), encoding="utf-8")


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
