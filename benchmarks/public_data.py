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


def sts_sentences(path: Path) -> list[str]:
    """Both sentences of each pair of an STS file, in order; a ``.tsv`` has a header and bare quotation marks."""
    with path.open(newline="", encoding="utf-8") as stream:
        if path.suffix == ".csv":
            return [sentence for row in csv.reader(stream) for sentence in row[:2]]
        rows = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [sentence for row in rows for sentence in (row["sentence1"], row["sentence2"])]


def lines_of(path: Path) -> list[str]:
    """The lines of a file that are not empty."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def main(data: Path, out: Path) -> None:
    """Write the two files, each sentence once."""
    en = sts_sentences(data / "stsb" / "stsb-en-train.csv")
    tr = sts_sentences(data / "stsb" / "stsb-tr-train.tsv")
    if len(en) != len(tr):
        raise SystemExit(f"{len(en)} English and {len(tr)} Turkish sentences do not pair up")
    out.mkdir(parents=True, exist_ok=True)
    pairs = {source: target for source, target in zip(tr, en, strict=True) if "\t" not in source + target}
    lines = "".join(f"{source}\t{target}\n" for source, target in pairs.items())
    (out / "tr.tsv").write_text(lines, encoding="utf-8")
    (out / "en.txt").write_text("".join(f"{sentence}\n" for sentence in dict.fromkeys(en)), encoding="utf-8")
    tatoeba = (line for file in sorted((data / "tatoeba").glob("*.eng")) for line in lines_of(file))
    (out / "english.txt").write_text("".join(f"{line}\n" for line in dict.fromkeys([*en, *tatoeba])), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
