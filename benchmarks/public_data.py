"""Turn public files into the corpora and tasks of the benchmarks.

    python benchmarks/public_data.py DATA OUT

DATA holds `stsb/stsb-{en-train.csv,tr-train.tsv}` (STS benchmark and its Turkish translation, line by line) and
`tatoeba/*.eng`. OUT gets `tr.tsv` (Turkish, tab, English) and `en.txt` from the former: development splits and Tatoeba
stay out, for they are what is evaluated on. `english.txt` has all English sentences of both, for `benchmarks/pruning.yaml`,
which trains nothing and looks at the development split alone.

Where DATA also holds `sib200/`, `ud/` and `xquad/`, OUT gets what `benchmarks/better-than-the-teacher.yaml` needs:

- `mixed/`: in `pairs.tsv` the same pairs with those of SIB-200's train split, in `tr.tsv` also Turkish sentences of the
  treebanks, whose second column is the sentence itself, so that the teacher reads it in Turkish; `en.txt` as above, of both;
- `sib-dev.{tr,en}`: sentences of SIB-200's dev split, line by line;
- `xquad-{tr,en}/`: questions and paragraphs as BEIR lays them out;
- `passages/{tr,en}.tsv`: five sentences of the above in a passage, and two of them as its queries, for
  `benchmarks/retrieval-training.yaml`: what is evaluated on, the paragraphs of XQuAD among it, stays out;
- `sib/`: pairs of ten languages in SIB-200's train split, and its dev split, for `benchmarks/ten-languages.yaml`.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

#: Sentences of a passage.
SENTENCES = 5
#: Languages of `benchmarks/ten-languages.yaml`, and what SIB-200 calls them.
TEN_LANGUAGES = {
    "ar": "arb_Arab",
    "de": "deu_Latn",
    "fi": "fin_Latn",
    "fr": "fra_Latn",
    "hi": "hin_Deva",
    "ja": "jpn_Jpan",
    "pl": "pol_Latn",
    "ru": "rus_Cyrl",
    "sw": "swh_Latn",
    "tr": "tur_Latn",
}


def sts_sentences(path: Path) -> list[str]:
    """Both sentences of each pair of an STS file, in order; a ``.tsv`` has a header and bare quotation marks."""
    with path.open(newline="", encoding="utf-8") as stream:
        if path.suffix == ".csv":
            return [sentence for row in csv.reader(stream) for sentence in row[:2]]
        rows = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [sentence for row in rows for sentence in (row["sentence1"], row["sentence2"])]


def sib_pairs(folder: Path, split: str, language: str = "tur_Latn") -> list[tuple[str, str]]:
    """Sentences of a language in a split of SIB-200 with the English ones that they translate, in the order of their ids."""
    sides = []
    for code in (language, "eng_Latn"):
        with (folder / f"{code}-{split}.tsv").open(newline="", encoding="utf-8") as stream:
            rows = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
            sides.append({row["index_id"]: row["text"] for row in rows})
    return [(sides[0][key], sides[1][key]) for key in sorted(sides[0].keys() & sides[1].keys())]


def lines_of(path: Path) -> list[str]:
    """The lines of a file that are not empty."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write each distinct line once, in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in dict.fromkeys(lines)), encoding="utf-8")


def write_retrieval(xquad: Path, folder: Path) -> None:
    """Write the paragraphs and questions of a file of XQuAD as BEIR lays them out."""
    articles = json.loads(xquad.read_text(encoding="utf-8"))["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    questions = [(qa["question"], number) for number, part in enumerate(paragraphs) for qa in part["qas"]]
    write_lines(
        folder / "corpus.jsonl",
        (json.dumps({"_id": f"p{i}", "text": part["context"].strip("\ufeff")}) for i, part in enumerate(paragraphs)),
    )
    write_lines(
        folder / "queries.jsonl", (json.dumps({"_id": f"q{i}", "text": text}) for i, (text, _) in enumerate(questions))
    )
    judged = (f"q{i}\tp{number}\t1" for i, (_, number) in enumerate(questions))
    write_lines(folder / "qrels.tsv", ["query-id\tcorpus-id\tscore", *judged])


def write_mixed(data: Path, out: Path, pairs: Sequence[tuple[str, str]], english: Iterable[str]) -> None:
    """Write the corpus of several kinds of text, and the tasks that go with it."""
    sib = sib_pairs(data / "sib200", "train")
    treebanks = [line for file in sorted((data / "ud").glob("tr-*.txt")) for line in lines_of(file)]
    translated = [f"{text}\t{read}" for text, read in [*pairs, *sib] if "\t" not in text + read]
    write_lines(out / "mixed" / "pairs.tsv", translated)
    write_lines(out / "mixed" / "tr.tsv", [*translated, *(f"{line}\t{line}" for line in treebanks if "\t" not in line)])
    write_lines(out / "mixed" / "en.txt", [*english, *(read for _, read in sib)])
    turkish = [*treebanks, *(text for text, _ in sib), *(text for text, _ in pairs)]
    write_passages(out / "passages" / "tr.tsv", turkish)
    write_passages(out / "passages" / "en.tsv", [*(read for _, read in sib), *english])
    turkish_dev, english_dev = zip(*sib_pairs(data / "sib200", "dev"), strict=True)
    write_lines(out / "sib-dev.tr", turkish_dev)
    write_lines(out / "sib-dev.en", english_dev)
    for lang in ("tr", "en"):
        write_retrieval(data / "xquad" / f"xquad.{lang}.json", out / f"xquad-{lang}")


def write_passages(path: Path, sentences: Iterable[str]) -> None:
    """Write queries with the passages that hold them: five sentences make a passage, and two of them are its queries."""
    lines = [line.replace("\t", " ") for line in dict.fromkeys(sentences)]
    rows = ["query\tdocument"]
    for start in range(0, len(lines) - SENTENCES + 1, SENTENCES):
        part = lines[start : start + SENTENCES]
        asked = (start // SENTENCES + step for step in (0, 2))
        rows += [f"{part[number % SENTENCES]}\t{' '.join(part)}" for number in asked]
    write_lines(path, rows)


def write_ten_languages(sib: Path, out: Path) -> None:
    """Write the pairs of ten languages, as many as SIB-200 has, and its dev split."""
    for lang, code in TEN_LANGUAGES.items():
        train, dev = (sib_pairs(sib, split, code) for split in ("train", "dev"))
        write_lines(out / "sib" / f"{lang}.tsv", (f"{text}\t{read}" for text, read in train if "\t" not in text + read))
        write_lines(out / "sib" / "en.txt", (read for _, read in train))
        for name, side in zip((lang, f"{lang}-en"), zip(*dev, strict=True), strict=True):
            write_lines(out / "sib" / f"dev.{name}", side)


def main(data: Path, out: Path) -> None:
    """Write the files, each sentence once."""
    en = sts_sentences(data / "stsb" / "stsb-en-train.csv")
    tr = sts_sentences(data / "stsb" / "stsb-tr-train.tsv")
    if len(en) != len(tr):
        raise SystemExit(f"{len(en)} English and {len(tr)} Turkish sentences do not pair up")
    pairs = {source: target for source, target in zip(tr, en, strict=True) if "\t" not in source + target}
    write_lines(out / "tr.tsv", (f"{source}\t{target}" for source, target in pairs.items()))
    write_lines(out / "en.txt", en)
    tatoeba = (line for file in sorted((data / "tatoeba").glob("*.eng")) for line in lines_of(file))
    write_lines(out / "english.txt", [*en, *tatoeba])
    if all((data / name).is_dir() for name in ("sib200", "ud", "xquad")):
        write_mixed(data, out, list(pairs.items()), en)
        write_ten_languages(data / "sib200", out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
