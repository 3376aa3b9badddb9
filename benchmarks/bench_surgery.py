"""Surgery at the paper's size: 262,144 tokens of byte-fallback BPE cut to 131,072.

Teacher and words are drawn, so that nothing has to be downloaded: tokens are random merges of shorter ones, words are random
syllables with Zipf's frequencies. ``langtailor`` reads the teacher's ``tokenizer.json``, selects with minimums, frequency
and closure, lays the new ids out and writes the file; ``json`` loads the teacher's file and dumps it, which is the floor.
``--grafts`` adds one run in which so many of the tokens are new, with its stages timed one by one, the table remapped and
reachability checked.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from measure import LOG, SEED, Row, alternate, parser, start, write

from langtailor.clone.rows import compose
from langtailor.config.initialisation import InitialisationSettings
from langtailor.config.vocabulary import GraftSettings, VocabularySettings
from langtailor.surgery.bpe.family import BytePairFamily
from langtailor.surgery.segmentation import segment
from langtailor.vocabulary.selector import Selector
from langtailor.vocabulary.statistics import CorpusStatistics

_LETTERS = "abcçdefgğhıijklmnoöprsştuüvyzqwxâîûéèñß"
_VOWELS, _CONSONANTS = "aeıioöuü", "bcçdfgğhjklmnprsştvyz"
_LONGEST = 12


def main() -> None:
    options = _options()
    start()
    text = json.dumps(drawn_teacher(options.teacher_rows), ensure_ascii=False)

    def check(made: Mapping[str, str]) -> None:
        rewritten = json.loads(made["langtailor"])["model"]["vocab"]
        if len(rewritten) != options.rows or json.loads(made["json"]) != json.loads(text):
            raise AssertionError(f"{len(rewritten):,} tokens were written")

    stages: list[Clock] = []

    def pruned() -> str:
        stages.append(Clock())
        return _rewritten(text, {}, 0, options, stages[-1])[1]

    sides = {"langtailor": pruned, "json": lambda: json.dumps(json.loads(text), ensure_ascii=False)}
    timed = alternate(sides, options.turns, check)
    details: dict[str, Any] = {**timed.to_json(), "stages": stages[-1].seconds, "sizes": vars(options) | {"out": ""}}
    if options.grafts:
        clock = Clock()
        _grafted(text, options, clock)
        details["with_grafts"] = clock.seconds | {"together": round(sum(clock.seconds.values()), 2)}
    note = f"{options.teacher_rows:,} to {options.rows:,} tokens; " + ", ".join(
        f"{stage} {seconds:.2f} s" for stage, seconds in stages[-1].seconds.items()
    )
    ratio = timed.times("langtailor", "json")
    row = Row("vocabulary selection and tokenizer rewrite", "JSON load and dump", ratio, 3, at_most=True, note=note)
    write(options.out, [row], details)


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
        LOG.info("%s: %.2f s", stage, self.seconds[stage])


def _options() -> Any:
    made = parser(__doc__, data=False)
    made.add_argument("--teacher-rows", type=int, default=262_144, help="tokens of the teacher")
    made.add_argument("--rows", type=int, default=131_072, help="tokens of the student")
    made.add_argument("--grafts", type=int, default=0, help="new tokens in a run of its own, 64,000 say")
    made.add_argument("--words", type=int, default=400_000, help="distinct words of the target language in that run")
    made.add_argument("--width", type=int, default=768, help="length of a row of the table in that run")
    return made.parse_args()


def _rewritten(
    text: str, words: Mapping[str, int], grafts: int, options: Any, clock: Clock
) -> tuple[BytePairFamily, str, Any]:
    """From the teacher's file to the student's; returns the family, the file and the layout."""
    draw = np.random.default_rng(SEED)
    counts = {lang: np.minimum(draw.zipf(1.3, options.teacher_rows), 10**9) for lang in ("en", "tr")}
    settings = VocabularySettings(size=options.rows, min_count=0, graft=GraftSettings(share=grafts / options.rows))
    with clock("load"):
        family = BytePairFamily.from_spec(json.loads(text), {}, None)
    with clock("select"):
        statistics = CorpusStatistics(
            counts, dict.fromkeys(counts, 1.0), words, options.teacher_rows, family.alphabet_ids()
        )
        selection = Selector(family, statistics, settings, None).select(settings.graft.share)
    with clock("layout"):
        layout = family.layout(selection.ids, selection.grafts, 0)
    with clock("write"):
        made = json.dumps(family.write(layout).tokenizer, ensure_ascii=False)
    if len(layout) != options.rows or len(selection.grafts) != grafts:
        raise SystemExit(f"{len(layout)} tokens, {len(selection.grafts)} new")
    return family, made, layout


def _grafted(text: str, options: Any, clock: Clock) -> None:
    """All stages with new tokens, up to the new table."""
    table = torch.randn(options.teacher_rows, options.width, generator=torch.Generator().manual_seed(SEED))
    family, _, layout = _rewritten(text, _words(options.words), options.grafts, options, clock)
    with clock("check for unreachable tokens"):
        lost = family.unreachable(layout)
    if lost:
        raise SystemExit(f"{len(lost)} unreachable: {lost[:5]}")
    with clock("remap"):
        new = [token for token in layout.tokens if token in layout.grafts]
        pieces = [tuple(ids) for ids in segment(family.spec, new)]
        ordinary = np.flatnonzero(layout.teacher_ids >= 0)
        lengths = np.ones(len(table), np.int64)
        mapping = compose(layout.teacher_ids, pieces, lengths, ordinary, table, InitialisationSettings(method="mean"))
        made = mapping.apply(table)
    kept = int(ordinary[-1])
    if not torch.equal(made[kept], table[int(layout.teacher_ids[kept])]):
        raise SystemExit("a kept row changed")


def drawn_teacher(size: int) -> dict[str, Any]:
    """A ``tokenizer.json`` as Gemma has it: spaces become ``▁``, 256 byte tokens, merges in the order of the ids."""
    draw = random.Random(SEED)
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
    draw = random.Random(SEED)
    syllables = [c + v for c in _CONSONANTS for v in _VOWELS]
    syllables += [s + c for s in syllables for c in _CONSONANTS]
    common = draw.sample(syllables, 600)
    found: dict[str, int] = {}
    while len(found) < count:
        found.setdefault("▁" + "".join(draw.choices(common, k=draw.randint(1, 4))), 0)
    return {word: max(2, round(20_000_000 / (rank + 10))) for rank, word in enumerate(found)}


if __name__ == "__main__":
    main()
