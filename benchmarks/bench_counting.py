"""Token counting beside what peers do, for the four families.

Three sides count text with the same tokenizer, alternating, and must agree:

- ``counter``: ``tokenizers`` ``encode_batch`` and ``collections.Counter``;
- ``bincount``: ``encode_batch_fast`` and ``numpy.bincount``;
- ``langtailor``: :class:`langtailor.counts.count.count_ids`.

Two texts are counted: DATA's sentences drawn with replacement up to ``--mb`` megabytes, and each of them once. Peers take
as long for each megabyte, whatever their number, so in each turn they count a slice of ``--slice-mb`` (another each
turn; ``0``: everything), which langtailor counts, too, for the comparison; its time is that for everything. The
tokenizers are trained here on the same sentences, configured as the real ones, or given by ``--tokenizer``.
"""

from __future__ import annotations

import base64
import io
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from measure import SEED, Row, alternate, drawn, in_process, parser, peak_megabytes, sentences, start, tell, write
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from langtailor.counts.count import count_ids
from langtailor.counts.presplit import Presplit, prove_presplit
from langtailor.counts.words import WeightedTexts
from langtailor.surgery.protobuf import read_fields
from langtailor.surgery.sentencepiece_model import read_pieces

_BATCH = 1_000
_ROWS = 10_000
_GIGABYTES = 2.0
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_PEERS = {"counter": "encode_batch and Counter", "bincount": "encode_batch_fast and bincount"}
#: To be reached where text may be split at spaces; otherwise never to be slower.
_TARGETS = {"counter": 8.0, "bincount": 3.0}
#: Field of the normalisation settings in SentencePiece's ``ModelProto``, and of the table in these.
_NORMALIZER, _CHARSMAP = 3, 2
Counts = NDArray[np.int64]


def main() -> None:
    options = _options()
    start()
    if options.alone:
        _alone(options)
        return
    lines = sentences(options.data)
    made = {path.parent.name: path.read_text(encoding="utf-8") for path in options.tokenizer}
    made = made or {name: FAMILIES[name](lines, options.vocabulary) for name in options.families}
    texts = {f"{options.mb:g} MB with repetition": drawn(lines, options.mb), "each sentence once": _once(lines)}
    rows, details = [], {}
    for name, spec in made.items():
        found = {kind: _compare(spec, chosen, options) for kind, chosen in texts.items()}
        rows += [_row(name, peer, found) for peer in _PEERS]
        details[name] = found
    peaks = {name: _peak(spec, options) for name, spec in made.items()}
    note = "the hungriest family, GB, tokenizer and libraries included"
    rows.append(Row("token counting: memory", "2 GB", max(peaks.values()) / 1024, _GIGABYTES, True, note))
    write(options.out, rows, {"families": details, "peaks": peaks, "seed": SEED})


def _options() -> Any:
    made = parser(__doc__)
    made.add_argument("--mb", type=float, default=200.0, help="megabytes drawn with replacement")
    made.add_argument("--slice-mb", type=float, default=2.0, help="megabytes that peers count in a turn; 0: everything")
    made.add_argument("--vocabulary", type=int, default=30_000, help="size of the tokenizers trained here")
    made.add_argument("--families", nargs="*", default=list(FAMILIES), help="which of them")
    made.add_argument("--tokenizer", nargs="*", type=Path, default=[], help="tokenizer.json files instead")
    made.add_argument("--alone", type=Path, help="count with this tokenizer.json alone and tell the peak memory")
    return made.parse_args()


# -- the three sides ---------------------------------------------------------------------------------------------------


def _counter(tokenizer: Tokenizer, texts: Sequence[str], rows: int) -> Counts:
    uses: Counter[int] = Counter()
    for at in range(0, len(texts), _BATCH):
        for encoding in tokenizer.encode_batch(texts[at : at + _BATCH], add_special_tokens=False):
            uses.update(encoding.ids)
    return np.array([uses[i] for i in range(rows)], np.int64)


def _bincount(tokenizer: Tokenizer, texts: Sequence[str], rows: int) -> Counts:
    uses = np.zeros(rows, np.int64)
    for at in range(0, len(texts), _BATCH):
        found = tokenizer.encode_batch_fast(texts[at : at + _BATCH], add_special_tokens=False)
        uses += np.bincount(np.concatenate([np.asarray(e.ids, np.int32) for e in found]), minlength=rows)
    return uses


def _langtailor(tokenizer: Tokenizer, presplit: Presplit, texts: pa.StringArray) -> Counts:
    stream = (texts.slice(at, _ROWS) for at in range(0, len(texts), _ROWS))
    return count_ids(tokenizer, WeightedTexts(stream, presplit))


def _compare(text: str, texts: Sequence[str], options: Any) -> dict[str, Any]:
    """Time the sides on one text; the peers' seconds are those of a slice, scaled up to the whole."""
    tokenizer = load(text)
    presplit, arrow, rows = (
        prove_presplit(json.loads(text), tokenizer),
        pa.array(texts),
        1 + max(tokenizer.get_vocab().values()),
    )
    whole = _megabytes(texts)
    slices = max(1, round(whole / options.slice_mb)) if options.slice_mb else 1
    turn = {peer: count() for peer in _PEERS}

    def part(peer: str) -> Sequence[str]:
        return texts[next(turn[peer]) % slices :: slices]

    def check(found: Mapping[str, Counts]) -> None:
        mine = _langtailor(tokenizer, presplit, pa.array(texts[next(checked) % slices :: slices]))
        if not all(np.array_equal(mine, found[peer]) for peer in _PEERS):
            raise AssertionError("the sides count differently")

    checked = count()
    timed = alternate(
        {
            "counter": lambda: _counter(tokenizer, part("counter"), rows),
            "bincount": lambda: _bincount(tokenizer, part("bincount"), rows),
            "langtailor": lambda: _langtailor(tokenizer, presplit, arrow),
        },
        options.turns,
        check,
    )
    return {
        **timed.to_json(),
        "mb": round(whole, 2),
        "slices": slices,
        "tokens": int(timed.made["langtailor"].sum()),
        "word_cuts": presplit.holds,
        "reason": presplit.reason,
        "times": {peer: round(slices * timed.times(peer, "langtailor"), 2) for peer in _PEERS},
    }


def _row(family: str, peer: str, found: Mapping[str, Mapping[str, Any]]) -> Row:
    (main_, repeated), (other, once) = found.items()
    note = f"{main_}, peers on {repeated['mb'] / repeated['slices']:.3g} MB of it; {other}: {once['times'][peer]} x"
    if not repeated["word_cuts"]:
        note += f"; not split at spaces: {repeated['reason']}"
    target = _TARGETS[peer] if repeated["word_cuts"] else 1.0
    return Row(f"token counting: {family}", _PEERS[peer], repeated["times"][peer], target, note=note)


# -- memory ------------------------------------------------------------------------------------------------------------


def _peak(spec: str, options: Any) -> float:
    """Peak megabytes of a process that counts the text with repetition and does nothing else."""
    file = options.out.with_suffix(".tokenizer.json")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(spec, encoding="utf-8")
    try:
        arguments = (str(options.data), "--mb", str(options.mb), "--alone", str(file), "--out", str(options.out))
        return float(in_process(__file__, *arguments)["peak_mb"])
    finally:
        file.unlink()


def _alone(options: Any) -> None:
    lines, draw = sentences(options.data), random.Random(SEED)
    text = options.alone.read_text(encoding="utf-8")
    tokenizer = load(text)

    def stream() -> Any:
        # Drawn as it is counted: a corpus comes from the disk, batch by batch.
        left = options.mb * 1e6
        while left > 0:
            batch = draw.choices(lines, k=_ROWS)
            left -= sum(len(line.encode()) for line in batch)
            yield pa.array(batch)

    count_ids(tokenizer, WeightedTexts(stream(), prove_presplit(json.loads(text), tokenizer)))
    tell({"peak_mb": peak_megabytes()})


def _once(lines: Sequence[str]) -> list[str]:
    """Each sentence once, shuffled, so that all slices are alike."""
    distinct = list(dict.fromkeys(lines))
    random.Random(SEED).shuffle(distinct)
    return distinct


def _megabytes(texts: Sequence[str]) -> float:
    return sum(len(text.encode()) for text in texts) / 1e6


# -- tokenizers --------------------------------------------------------------------------------------------------------


def load(text: str) -> Tokenizer:
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
    from sentencepiece import SentencePieceTrainer

    data = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=data, vocab_size=size, hard_vocab_limit=False, minloglevel=2
    )
    vocab = [(piece.text, piece.score) for piece in read_pieces(data.getvalue())]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=0, byte_fallback=False))
    normalizer = dict(_by_number(data.getvalue()))[_NORMALIZER]
    charsmap = base64.b64encode(dict(_by_number(normalizer))[_CHARSMAP]).decode()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    spec = json.loads(tokenizer.to_str())
    return json.dumps(spec | {"normalizer": {"type": "Precompiled", "precompiled_charsmap": charsmap}})


def _by_number(message: bytes) -> Iterator[tuple[int, Any]]:
    return ((number, value) for number, _, value in read_fields(message))


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
    """As Gemma: trained on words, used without a pre-tokenizer that splits."""
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
