"""What surgery does to each tokenizer family, with its certificate, on public text.

For each family a multilingual tokenizer is trained on all of DATA's Tatoeba sentences (112 languages), a random model is put
behind it, and the workflow's own stages cut it in half for English and Turkish (STS benchmark, train part): without new
tokens, with a fixed share of Turkish tokens trained on from the pruned vocabulary or taken from a donor, and with the
share that marginal fertility chooses. The donor is a Turkish byte-level BPE trained on the same text. Shown is what each
certificate says of held-out sentences. ``--tokenizer`` adds folders with real tokenizers::

    python benchmarks/public_data.py DATA benchmarks/data
    PYTHONPATH=workflow python benchmarks/bench_families.py DATA --out families.json

For BPE it also shows what becomes of a donor's merges when they are appended as they are: tokens that no text reaches.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from pathlib import Path
from typing import Any

from bench_counting import FAMILIES
from sentence_transformers import SentenceTransformer
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from langtailor.config.corpus import CleaningSettings, FilesSource, Quotas
from langtailor.config.teacher import TeacherSettings
from langtailor.config.vocabulary import GraftSettings, VocabularySettings
from langtailor.corpus.build import build_corpus
from langtailor.corpus.documents import fetch_documents
from langtailor.counts.count import count_corpora
from langtailor.storage.artifacts import read_json
from langtailor.storage.tables import VOCABULARY, read_table_manifest
from langtailor.surgery.word_models import encode_words, model_of, word_tokenizer
from langtailor.teacher.fetch import fetch_teacher
from langtailor.tokenizer.write import write_tokenizer
from langtailor.vocabulary.donor import load_donor
from langtailor.vocabulary.select import select_vocabulary

_LOG = logging.getLogger("bench")
_HERE = Path(__file__).parent
_SOURCES = {"en": "data/en.txt", "tr": "data/tr.tsv"}
_QUOTAS = Quotas(train=9_000, validation=600, test=600)
_COLUMNS = (
    "tokenizer",
    "way",
    "new tokens",
    "retained",
    "identical",
    "unreachable",
    "round trips lost",
    "tr",
    "tr now",
    "en",
    "en now",
    "tr untouched",
    "en untouched",
)
_DONOR_SIZE = 16_000


def main() -> None:
    """Run all families, write the figures and show them."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with tatoeba/")
    parser.add_argument("--size", type=int, default=32_000, help="tokens of each teacher")
    parser.add_argument("--share", type=float, default=0.2, help="share of the budget for new tokens")
    parser.add_argument("--tokenizer", type=Path, nargs="*", default=[], help="folders with a tokenizer.json")
    parser.add_argument("--out", type=Path, default=Path("families.json"))
    options = parser.parse_args()
    lines = [line for file in sorted((options.data / "tatoeba").iterdir()) for line in _lines(file)]
    turkish = [line.split("\t")[0] for line in _lines(_HERE / _SOURCES["tr"])]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        donor = Path(place) / "donor"
        donor.mkdir()
        donated = FAMILIES["byte-level BPE"](turkish, _DONOR_SIZE)
        (donor / "tokenizer.json").write_text(donated, encoding="utf-8")
        teachers = {name: lambda make=make: make(lines, options.size) for name, make in FAMILIES.items()}
        teachers |= {p.name: (p / "tokenizer.json").read_text for p in options.tokenizer}
        for number, (name, spec) in enumerate(teachers.items()):
            folder = Path(place) / str(number)
            folder.mkdir()
            rows += _run(name, spec(), folder, options.share, donor)
        appended = _appended(FAMILIES["byte-level BPE"](lines, options.size), json.loads(donated))
    options.out.write_text(
        json.dumps({"size": options.size, "rows": rows, "appended": appended}, indent=2) + "\n", encoding="utf-8"
    )
    _LOG.info("| %s |\n|%s", " | ".join(_COLUMNS), "---|" * len(_COLUMNS))
    for row in rows:
        _LOG.info("| %s |", " | ".join(str(row[column]) for column in _COLUMNS))
    _LOG.info("a donor's merges, appended: %s", appended)


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


def _run(name: str, spec: str, folder: Path, share: float, donor: Path) -> list[dict[str, Any]]:
    teacher, size = _teacher(spec, folder)
    corpora, counts = {}, {}
    for lang, place in _SOURCES.items():
        documents, corpora[lang] = folder / f"documents-{lang}.parquet", folder / f"corpus-{lang}.parquet"
        counts[lang] = folder / f"counts-{lang}.parquet"
        fetch_documents(
            FilesSource(kind="files", path=str(_HERE / place)), lang, lang, 20_000, 0, documents, folder / lang
        )
        build_corpus(documents, teacher, lang, 256, CleaningSettings(min_characters=8), _QUOTAS, 0, corpora[lang])
    count_corpora(corpora, teacher, counts)
    ways = {
        "pruned only": GraftSettings(share=0.0),
        "trained": GraftSettings(share=share),
        "donor": GraftSettings(share=share, donor=str(donor)),
        "marginal": GraftSettings(share=share, policy="marginal"),
    }
    rows = []
    for way, grafts in ways.items():
        vocabulary, out = folder / f"{way}.parquet", folder / f"tokenizer-{way}"
        settings = VocabularySettings(size=size // 2, min_count=0, graft=grafts)
        given = load_donor(grafts, folder)
        select_vocabulary(
            teacher, counts, corpora, given, settings, dict.fromkeys(_SOURCES, 1.0), ["tr"], [], vocabulary
        )
        write_tokenizer(teacher, vocabulary, corpora, ["tr"], out)
        new = read_table_manifest(vocabulary, "vocabulary", VOCABULARY).facts["grafts"]
        rows.append(_row(name, way, new, read_json(out / "certificate.json", "certificate")))
    return rows


def _row(name: str, way: str, new: int, certificate: dict[str, Any]) -> dict[str, Any]:
    whole, languages = certificate["all"], certificate["languages"]
    fertility = {lang: languages[lang]["tokens_per_word"] for lang in _SOURCES}
    return {
        "tokenizer": name,
        "way": way,
        "new tokens": new,
        "retained": f"{whole['retained'] / whole['passages']:.1%}",
        "identical": f"{whole['retained_identical']} of {whole['retained']}",
        "unreachable": certificate["unreachable"],
        "round trips lost": f"{whole['round_trip_failures']} of {whole['round_trips']}",
        **{lang: f"{found['teacher']:.3f}" for lang, found in fertility.items()},
        **{f"{lang} now": f"{found['new']:.3f}" for lang, found in fertility.items()},
        **{f"{lang} untouched": f"{languages[lang]['untouched_share']:.1%}" for lang in _SOURCES},
        "certificate": certificate,
    }


def _appended(text: str, donor: dict[str, Any]) -> dict[str, int]:
    """What a byte-level BPE makes of a donor's tokens and merges that are appended to its own."""
    spec = json.loads(text)
    vocab, merges = spec["model"]["vocab"], spec["model"]["merges"]
    new = [token for token in donor["model"]["vocab"] if token not in vocab]
    for token in new:
        vocab[token] = len(vocab)
    known = {tuple(merge) for merge in merges}
    merges += [merge for merge in donor["model"]["merges"] if tuple(merge) not in known]
    model = word_tokenizer(model_of(spec))
    reached = sum(ids == [vocab[token]] for token, ids in zip(new, encode_words(model, new), strict=True))
    return {"tokens": len(new), "unreachable": len(new) - reached}


def _teacher(spec: str, folder: Path) -> tuple[Path, int]:
    """A random model of the smallest width behind a tokenizer, as a fetched teacher, and its number of tokens."""
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
    return teacher, len(tokenizer)


if __name__ == "__main__":
    main()
