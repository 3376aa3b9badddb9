"""Surgery at the paper's size: 262,144 tokens of byte-fallback BPE to 131,072, of them 64,000 new, and the table remapped.

Teacher and words are drawn, so that nothing has to be downloaded: tokens are random merges of shorter ones, words are random
syllables with Zipf's frequencies. Each stage is timed in this one process; ``json`` is loading and dumping the teacher's
``tokenizer.json``, the floor of rewriting it::

    PYTHONPATH=workflow python benchmarks/bench_surgery.py --out benchmarks/results/surgery.json
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import resource
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from langtailor.config import GraftSettings, InitialisationSettings, VocabularySettings
from langtailor.demand import Demand
from langtailor.initialisation import compose
from langtailor.selection import Selector
from langtailor.surgery.bpe.family import BytePairFamily
from langtailor.surgery.segmentation import segment

_LOG = logging.getLogger("bench")
_SEED = 7
_LETTERS = "abcçdefgğhıijklmnoöprsştuüvyzqwxâîûéèñß"
_VOWELS, _CONSONANTS = "aeıioöuü", "bcçdfgğhjklmnprsştvyz"
_LONGEST = 12


def main() -> None:
    """Time the stages and write the figures."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = _options()
    text = json.dumps(_teacher(options.teacher_rows), ensure_ascii=False)
    words = _words(options.words)
    clock = Clock()
    family = _surgery(text, words, options, clock)
    floor = statistics.median(_json_seconds(text) for _ in range(5))
    report = {
        "benchmark": "surgery",
        "sizes": vars(options) | {"out": str(options.out), "tokens": len(family.tokens)},
        "seconds": clock.seconds,
        "total_seconds": round(sum(clock.seconds.values()), 2),
        "json_seconds": round(floor, 3),
        "rewrite_of_json": round((clock.seconds["load"] + clock.seconds["write"]) / floor, 2),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    _LOG.info("%s", json.dumps(report, indent=1))


class Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time a stage."""
        begin = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - begin, 2)
        _LOG.info("%s: %.2f s", stage, self.seconds[stage])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher-rows", type=int, default=262_144, help="tokens of the teacher")
    parser.add_argument("--rows", type=int, default=131_072, help="tokens of the student")
    parser.add_argument("--grafts", type=int, default=64_000, help="how many of them are new")
    parser.add_argument("--words", type=int, default=400_000, help="distinct words of the target language")
    parser.add_argument("--width", type=int, default=768, help="length of a row")
    parser.add_argument("--out", type=Path, default=Path("surgery.json"), help="where the figures go")
    return parser.parse_args()


def _surgery(text: str, words: dict[str, int], options: argparse.Namespace, clock: Clock) -> BytePairFamily:
    """All stages from the teacher's file to the new table."""
    draw = np.random.default_rng(_SEED)
    table = torch.randn(options.teacher_rows, options.width, generator=torch.Generator().manual_seed(_SEED))
    uses = {lang: np.minimum(draw.zipf(1.3, options.teacher_rows), 10**9) for lang in ("en", "tr")}
    settings = VocabularySettings(size=options.rows, graft=GraftSettings(share=options.grafts / options.rows))
    with clock("load"):
        family = BytePairFamily.from_spec(json.loads(text), {}, None)
    with clock("select, with closure and grafts"):
        demand = Demand(uses, dict.fromkeys(uses, 1.0), words, options.teacher_rows, family.alphabet_ids())
        selection = Selector(family, demand, settings, None).select(settings.graft.share)
    with clock("layout"):
        layout = family.layout(selection.ids, selection.grafts, 0)
    with clock("write"):
        json.dumps(family.write(layout).tokenizer, ensure_ascii=False)
    with clock("look for unreachable tokens"):
        lost = family.unreachable(layout)
    if lost or len(layout) != options.rows or len(selection.grafts) != options.grafts:
        raise SystemExit(f"{len(layout)} tokens, {len(selection.grafts)} new, {len(lost)} unreachable: {lost[:5]}")
    with clock("remap"):
        new = [token for token in layout.tokens if token in layout.grafts]
        pieces = [tuple(ids) for ids in segment(family.spec, new)]
        ordinary = np.flatnonzero(layout.teacher_ids >= 0)
        lengths = np.ones(len(table), np.int64)
        mapping = compose(layout.teacher_ids, pieces, lengths, ordinary, table, InitialisationSettings())
        made = mapping.apply(table)
    kept = int(ordinary[-1])
    assert torch.equal(made[kept], table[int(layout.teacher_ids[kept])])
    return family


def _teacher(size: int) -> dict[str, Any]:
    """A ``tokenizer.json`` as Gemma has it: spaces become ``▁``, 256 byte tokens, merges in the order of the ids."""
    draw = random.Random(_SEED)
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *_LETTERS]
    known, merges = set(tokens), []
    parts = ["▁", *_LETTERS]
    while len(tokens) < size:
        # Short parts more often, as in text.
        left, right = (parts[int(len(parts) * draw.random() ** 3)] for _ in range(2))
        if "▁" in right or len(left + right) > _LONGEST or left + right in known:
            continue
        known.add(left + right)
        tokens.append(left + right)
        parts.append(left + right)
        merges.append([left, right])
    special = [
        {
            "id": i,
            "content": t,
            "special": True,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
        }
        for i, t in enumerate(tokens[:4])
    ]
    model = {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True, "ignore_merges": False}
    model |= {"vocab": {token: i for i, token in enumerate(tokens)}, "merges": merges}
    space = {"pattern": {"String": " "}, "content": "▁"}
    steps = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": {"type": "Replace", **space},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": steps},
        "model": model,
    }


def _words(count: int) -> dict[str, int]:
    """Distinct words of drawn syllables with Zipf's frequencies."""
    draw = random.Random(_SEED)
    syllables = [c + v for c in _CONSONANTS for v in _VOWELS]
    syllables += [s + c for s in syllables for c in _CONSONANTS]
    common = draw.sample(syllables, 600)
    found: dict[str, int] = {}
    while len(found) < count:
        found.setdefault("▁" + "".join(draw.choices(common, k=draw.randint(1, 4))), 0)
    return {word: max(2, round(20_000_000 / (rank + 10))) for rank, word in enumerate(found)}


def _json_seconds(text: str) -> float:
    begin = time.perf_counter()
    json.dumps(json.loads(text), ensure_ascii=False)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
