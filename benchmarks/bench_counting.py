"""Token counting beside what peers do, for the four families.

Three sides count the same text with the same tokenizer, alternating, and must agree:

- ``counter``: ``tokenizers`` ``encode_batch`` and ``collections.Counter``;
- ``bincount``: ``encode_batch_fast`` and ``numpy.bincount``;
- ``langtailor``: :class:`langtailor.counting.count_ids`.

The text is drawn, line by line and with replacement, from the files given, up to ``--mb``; ``--mb 0`` takes each line once.
``--growth`` counts 1, 4 and 16 parts of it in fresh processes and reports seconds and peak memory. The tokenizers are trained
here on the same files, configured as the real ones, or given by ``--tokenizer``::

    PYTHONPATH=workflow python benchmarks/bench_counting.py --mb 8 --out counting.json TEXTS...
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import logging
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from langtailor.counting import count_ids
from langtailor.wordcuts import prove_word_cuts
from langtailor.words import WeightedTexts

_LOG = logging.getLogger("langtailor")
_BATCH = 1_000
_ROWS = 10_000
_SEED = 7
_GROWTH = (16, 4, 1)
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
Counts = NDArray[np.int64]


def main() -> None:
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if options.child:
        _child(*options.child)
        return
    lines = [line for file in options.texts for line in file.read_text(encoding="utf-8").splitlines() if line]
    texts = _sample(lines, options.mb)
    made = {path.parent.name: path.read_text(encoding="utf-8") for path in options.tokenizer}
    made = made or {
        name: make(lines, options.vocabulary) for name, make in FAMILIES.items() if name in options.families
    }
    results = [_compare(name, spec, texts, options.repeats) for name, spec in made.items()]
    if options.growth:
        for result, spec in zip(results, made.values(), strict=True):
            result["growth"] = _growth(spec, texts)
    report = {"benchmark": "counting", "seed": _SEED, "mb": round(_megabytes(texts), 3), "results": results}
    text = json.dumps(
        report | {"replacement": options.mb > 0, "repeats": options.repeats}, indent=1, ensure_ascii=False
    )
    options.out.write_text(text + "\n", encoding="utf-8")
    for result in results:
        _LOG.info(
            "%s: %.1f x encode_batch and Counter, %.1f x encode_batch_fast and bincount (%s)",
            *(result[key] for key in ("family", "times_counter", "times_bincount", "reason")),
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="*", type=Path, help="files of text, a passage a line")
    parser.add_argument("--mb", type=float, default=8.0, help="megabytes drawn with replacement; 0: each line once")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each side")
    parser.add_argument("--vocabulary", type=int, default=30_000, help="size of the tokenizers trained here")
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), help="which of them")
    parser.add_argument("--tokenizer", nargs="*", type=Path, default=[], help="tokenizer.json files instead")
    parser.add_argument("--growth", action="store_true", help="also 1, 4 and 16 parts, each in a process of its own")
    parser.add_argument("--out", type=Path, default=Path("counting.json"), help="where the figures go")
    parser.add_argument("--child", nargs=2, type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


# -- the three sides ---------------------------------------------------------------------------------------------------


def _counter(tokenizer: Tokenizer, texts: Sequence[str], rows: int) -> Counts:
    uses: Counter[int] = Counter()
    for start in range(0, len(texts), _BATCH):
        for encoding in tokenizer.encode_batch(texts[start : start + _BATCH], add_special_tokens=False):
            uses.update(encoding.ids)
    return np.array([uses[i] for i in range(rows)], np.int64)


def _bincount(tokenizer: Tokenizer, texts: Sequence[str], rows: int) -> Counts:
    uses = np.zeros(rows, np.int64)
    for start in range(0, len(texts), _BATCH):
        found = tokenizer.encode_batch_fast(texts[start : start + _BATCH], add_special_tokens=False)
        uses += np.bincount(np.concatenate([np.asarray(e.ids, np.int32) for e in found]), minlength=rows)
    return uses


def _langtailor(tokenizer: Tokenizer, spec: dict[str, Any], texts: pa.StringArray) -> Counts:
    stream = (texts.slice(start, _ROWS) for start in range(0, len(texts), _ROWS))
    return count_ids(tokenizer, WeightedTexts(stream, prove_word_cuts(spec, tokenizer)))


def _compare(name: str, text: str, texts: Sequence[str], repeats: int) -> dict[str, Any]:
    tokenizer, spec = _load(text), json.loads(text)
    arrow, rows = pa.array(texts), 1 + max(tokenizer.get_vocab().values())
    sides: dict[str, Callable[[], Counts]] = {
        "counter": lambda: _counter(tokenizer, texts, rows),
        "bincount": lambda: _bincount(tokenizer, texts, rows),
        "langtailor": lambda: _langtailor(tokenizer, spec, arrow),
    }
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(repeats):
        found = {}
        for side, count in sides.items():
            begin = time.perf_counter()
            found[side] = count()
            seconds[side].append(time.perf_counter() - begin)
            _LOG.info("%s, turn %d, %s: %.2f s", name, turn + 1, side, seconds[side][-1])
        if not all(np.array_equal(found["counter"], other) for other in found.values()):
            raise AssertionError(f"{name}: the sides count differently")
    median = {side: statistics.median(times) for side, times in seconds.items()}
    cuts = prove_word_cuts(spec, tokenizer)
    return {
        "family": name,
        "tokens": int(found["counter"].sum()),
        "word_cuts": cuts.holds,
        "reason": cuts.reason,
        "seconds": {side: [round(s, 3) for s in times] for side, times in seconds.items()},
        "mb_per_second": {side: round(_megabytes(texts) / s, 2) for side, s in median.items()},
        "times_counter": round(median["counter"] / median["langtailor"], 2),
        "times_bincount": round(median["bincount"] / median["langtailor"], 2),
    }


# -- growth ------------------------------------------------------------------------------------------------------------


def _growth(spec: str, texts: Sequence[str]) -> list[dict[str, float]]:
    points = []
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = Path(folder) / "tokenizer.json"
        tokenizer.write_text(spec, encoding="utf-8")
        for part in _GROWTH:
            chosen = texts[: len(texts) // part]
            corpus = Path(folder) / f"{part}.parquet"
            pq.write_table(pa.table({"text": chosen}), corpus, row_group_size=_ROWS)
            command = [sys.executable, __file__, "--child", str(corpus), str(tokenizer)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            points.append({"mb": round(_megabytes(chosen), 3), **json.loads(output)})
    return points


def _child(corpus: Path, tokenizer: Path) -> None:
    """Count a file in a stream; tells the seconds and the peak memory."""
    text = tokenizer.read_text(encoding="utf-8")
    loaded = _load(text)
    before = _peak_megabytes()
    begin = time.perf_counter()
    stream = (batch["text"] for batch in pq.ParquetFile(corpus).iter_batches(_ROWS))
    texts = WeightedTexts(stream, prove_word_cuts(json.loads(text), loaded))
    tokens = int(count_ids(loaded, texts).sum())
    seconds = round(time.perf_counter() - begin, 3)
    sys.stdout.write(
        json.dumps({"seconds": seconds, "tokens": tokens, "peak_mb": _peak_megabytes(), "peak_mb_before": before})
    )


def _peak_megabytes() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


# -- text --------------------------------------------------------------------------------------------------------------


def _sample(lines: list[str], mb: float) -> list[str]:
    if not mb:
        return lines
    draw, left, chosen = random.Random(_SEED), mb * 1e6, []
    while left > 0:
        chosen.append(draw.choice(lines))
        left -= len(chosen[-1].encode())
    return chosen


def _megabytes(texts: Sequence[str]) -> float:
    return sum(len(text.encode()) for text in texts) / 1e6


# -- tokenizers --------------------------------------------------------------------------------------------------------


def _load(text: str) -> Tokenizer:
    tokenizer = Tokenizer.from_str(text)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _wordpiece(lines: Sequence[str], size: int) -> str:
    """As multilingual BERT."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    return str(tokenizer.to_str())


def _unigram(lines: Sequence[str], size: int) -> str:
    """As XLM-R: trained by SentencePiece, with its normalisation table."""
    from sentencepiece import SentencePieceTrainer, sentencepiece_model_pb2

    data = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=data, vocab_size=size, hard_vocab_limit=False, minloglevel=2
    )
    proto: Any = sentencepiece_model_pb2  # generated code without types
    model = proto.ModelProto.FromString(data.getvalue())
    vocab = [(piece.piece, piece.score) for piece in model.pieces]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=0, byte_fallback=False))
    charsmap = base64.b64encode(model.normalizer_spec.precompiled_charsmap).decode()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    spec = json.loads(tokenizer.to_str())
    return json.dumps(spec | {"normalizer": {"type": "Precompiled", "precompiled_charsmap": charsmap}})


def _byte_level(lines: Sequence[str], size: int) -> str:
    """As Qwen."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN), "isolated"), letters])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return str(tokenizer.to_str())


def _byte_fallback(lines: Sequence[str], size: int) -> str:
    """As Gemma: trained on words, used without a cut."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tokenizer.train_from_iterator(
        lines, trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    spec = json.loads(tokenizer.to_str())
    spec["added_tokens"] = spec["added_tokens"][:4]
    return json.dumps(spec)


FAMILIES: dict[str, Callable[[Sequence[str], int], str]] = {
    "WordPiece": _wordpiece,
    "Unigram": _unigram,
    "byte-level BPE": _byte_level,
    "BPE with byte fallback": _byte_fallback,
}

if __name__ == "__main__":
    main()
