"""What surgery does to each tokenizer family, with its certificate, on public text.

For each family a multilingual tokenizer is trained on all of DATA's Tatoeba sentences (112 languages), a random model is put
behind it, and the workflow's own stages cut it in half for English and Turkish (STS benchmark, train part), once without and
once with new Turkish tokens. Shown is what each certificate says of held-out sentences::

    python benchmarks/public_data.py DATA benchmarks/data
    PYTHONPATH=workflow python benchmarks/bench_families.py DATA --out families.json
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench_counting import FAMILIES
from sentence_transformers import SentenceTransformer
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from langtailor.artifacts import read_json
from langtailor.config import CleaningSettings, FilesSource, GraftSettings, Quotas, TeacherSettings, VocabularySettings
from langtailor.corpus.build import build_corpus
from langtailor.corpus.sources import fetch_documents
from langtailor.counting import count_tokens
from langtailor.selection import select_vocabulary
from langtailor.surgery.write import write_tokenizer
from langtailor.teacher import fetch_teacher

_LOG = logging.getLogger("bench")
_HERE = Path(__file__).parent
_SOURCES = {"en": "data/en.txt", "tr": "data/tr.tsv"}
_QUOTAS = Quotas(train=9_000, validation=600, test=600)
_COLUMNS = (
    "family",
    "grafts",
    "retained",
    "identical",
    "unreachable",
    "round trips lost",
    "tr",
    "tr now",
    "en",
    "en now",
)


def main() -> None:
    """Run all families, write the figures and show them."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with tatoeba/")
    parser.add_argument("--size", type=int, default=32_000, help="tokens of each teacher")
    parser.add_argument("--share", type=float, default=0.2, help="share of the budget for new tokens")
    parser.add_argument("--out", type=Path, default=Path("families.json"))
    options = parser.parse_args()
    files = sorted(file for file in (options.data / "tatoeba").iterdir() if file.suffix != ".md")
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    rows = []
    for family in FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            rows += _run(family, lines, Path(folder), options.size, (0.0, options.share))
    options.out.write_text(json.dumps({"size": options.size, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    _LOG.info("| %s |\n|%s", " | ".join(_COLUMNS), "---|" * len(_COLUMNS))
    for row in rows:
        _LOG.info("| %s |", " | ".join(str(row[column]) for column in _COLUMNS))


def _run(family: str, lines: Sequence[str], folder: Path, size: int, shares: Sequence[float]) -> list[dict[str, Any]]:
    teacher = _teacher(family, lines, size, folder)
    corpora, counts = {}, {}
    for lang, place in _SOURCES.items():
        documents, corpora[lang] = folder / f"documents-{lang}.parquet", folder / f"corpus-{lang}.parquet"
        counts[lang] = folder / f"counts-{lang}.parquet"
        fetch_documents(
            FilesSource(kind="files", path=str(_HERE / place)), lang, lang, 20_000, 0, documents, folder / lang
        )
        build_corpus(documents, teacher, lang, 256, CleaningSettings(min_characters=8), _QUOTAS, 0, corpora[lang])
        count_tokens(corpora[lang], teacher, counts[lang])
    rows = []
    for share in shares:
        vocabulary, out = folder / f"{share}.parquet", folder / f"tokenizer-{share}"
        settings = VocabularySettings(size=size // 2, min_count=0, graft=GraftSettings(share=share))
        select_vocabulary(teacher, counts, corpora, None, settings, dict.fromkeys(_SOURCES, 1.0), ["tr"], vocabulary)
        write_tokenizer(teacher, vocabulary, corpora, ["tr"], out)
        rows.append(_row(family, share, read_json(out / "certificate.json", "certificate")))
    return rows


def _row(family: str, share: float, certificate: dict[str, Any]) -> dict[str, Any]:
    whole = certificate["all"]
    fertility = {lang: certificate["languages"][lang]["tokens_per_word"] for lang in _SOURCES}
    return {
        "family": family,
        "grafts": f"{share:.0%}",
        "retained": f"{whole['retained'] / whole['passages']:.1%}",
        "identical": f"{whole['retained_identical']} of {whole['retained']}",
        "unreachable": certificate["unreachable"],
        "round trips lost": f"{whole['round_trip_failures']} of {whole['round_trips']}",
        **{lang: f"{found['teacher']:.3f}" for lang, found in fertility.items()},
        **{f"{lang} now": f"{found['new']:.3f}" for lang, found in fertility.items()},
        "certificate": certificate,
    }


def _teacher(family: str, lines: Sequence[str], size: int, folder: Path) -> Path:
    """A random model of the smallest width behind a trained tokenizer, as a fetched teacher."""
    spec = FAMILIES[family](lines, size)
    original, made = folder / "transformer", folder / "original"
    original.mkdir()
    (original / "tokenizer.json").write_text(spec, encoding="utf-8")
    known = json.loads(spec)["model"]["vocab"]
    known = known if isinstance(known, dict) else [piece for piece, _ in known]
    named = {"unk_token": next((t for t in ("[UNK]", "<unk>") if t in known), None), "pad_token": "[PAD]"}
    if "[PAD]" not in known:
        named["pad_token"] = "<pad>" if "<pad>" in known else "<|endoftext|>" if "Ġ" in known else "</s>"
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(original / "tokenizer.json"), **{key: value for key, value in named.items() if value}
    )
    tokenizer.save_pretrained(original)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(original)
    SentenceTransformer(str(original), device="cpu").save_pretrained(str(made))
    teacher = folder / "teacher"
    fetch_teacher(TeacherSettings(model=str(made)), teacher)
    return teacher


if __name__ == "__main__":
    main()
