"""The new embedding table: langtailor's remap, ``transformer-cloner`` as its users run it, and a plain copy.

Both cloners get the same two tokenizers and the same table, and find out by themselves which rows make which. The peer's own
methods run: ``build_token_id_map`` and, token by token, ``_map_single_embedding``. The former asks the tokenizer for its
whole vocabulary once a token, so ``loop`` runs on ``--loop-tokens`` drawn tokens and its time is scaled up to all;
``loop, vocabulary held`` gives it the vocabulary as a dictionary and runs whole. All rows must be the same, but for kept
tokens that do not come back when their spelling is read as text (bytes, tokens that no text reaches): langtailor copies their
rows, the peer composes new ones. Where the package is not installed, both sides are left out.

``table`` alone is held against ``copy_`` of the finished table, the floor that memory sets, with drawn pieces, few of them
often (Zipf), as text has them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from bench_surgery import drawn_teacher
from measure import SEED, Row, Turns, alternate, parser, start, version_of, write

from langtailor.clone.rows import RowMapping, compose
from langtailor.config.initialisation import InitialisationSettings
from langtailor.surgery.base import Graft, Ids, Layout
from langtailor.surgery.bpe.family import BytePairFamily
from langtailor.surgery.segmentation import segment

_PEER = "transformer-cloner"
_METHODS = ("mean", "length-weighted", "norm-matched", "similarity")
_HELD = "loop, vocabulary held"


def main() -> None:
    options = _options()
    start()
    rows, details = [], {"sizes": vars(options) | {"out": ""}, "peer": version_of(_PEER)}
    whole = _against_loop(options) if details["peer"] else None
    rows.append(_loop_row(whole, options))
    if whole:
        details["whole"] = whole.to_json()
    for dtype in options.dtypes:
        timed = _against_copy(options, getattr(torch, dtype))
        details[dtype] = timed.to_json()
        note = f"{options.rows:,} rows of {options.width}, {options.grafts:,} of them composed"
        rows.append(Row(f"remap, {dtype}", "plain copy_ of the result", timed.times("table", "copy"), 3, True, note))
    details["compose_seconds"] = _compose_seconds(options)
    write(options.out, rows, details)


def _options() -> Any:
    made = parser(__doc__, data=False)
    made.add_argument("--teacher-rows", type=int, default=262_144, help="rows of the teacher's table")
    made.add_argument("--rows", type=int, default=131_072, help="rows of the new table")
    made.add_argument("--grafts", type=int, default=64_000, help="how many of them are new tokens")
    made.add_argument("--width", type=int, default=768, help="length of a row")
    made.add_argument("--loop-tokens", type=int, default=128, help="tokens that the peer's loop runs on in a turn")
    made.add_argument("--dtypes", nargs="*", default=["float32", "bfloat16"], help="precisions of the copied table")
    made.add_argument("--methods", nargs="*", default=_METHODS[:3], choices=_METHODS, help="mappings that are timed")
    return made.parse_args()


# -- the whole way, beside the peer ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """Two tokenizers and a table.

    Attributes:
        family: the teacher's tokenizer.
        layout: the student's tokens.
        student: content of the student's ``tokenizer.json``.
        table: the teacher's table.
    """

    family: BytePairFamily
    layout: Layout
    student: Mapping[str, Any]
    table: torch.Tensor

    @classmethod
    def drawn(cls, options: Any) -> Case:
        """A drawn teacher, of whose tokens some are kept, and new ones that merge two kept ones."""
        draw = np.random.default_rng(SEED)
        spec = drawn_teacher(options.teacher_rows)
        # As Gemma does: the peer drops the first token of each text for this one.
        spec["post_processor"] = _beginning("<bos>", spec["model"]["vocab"]["<bos>"])
        family = BytePairFamily.from_spec(spec, {}, None)
        kept: set[int] = set(family.special_ids().tolist()) | set(family.alphabet_ids().tolist())
        for token in draw.permutation(options.teacher_rows).tolist():
            if len(kept) < options.rows - options.grafts:
                kept |= {token, *family.requirements(token)}
        tokens = [family.tokens[i] or "" for i in sorted(kept) if i > max(family.alphabet_ids())]
        grafts: dict[str, Graft] = {}
        while len(kept) + len(grafts) < options.rows:
            left, right = (tokens[i] for i in draw.integers(len(tokens), size=2))
            if "▁" not in right and left + right not in spec["model"]["vocab"]:
                grafts.setdefault(left + right, Graft(left + right, 1, (left, right)))
        layout = family.layout(np.array(sorted(kept), np.int32), list(grafts.values()), 0)
        return cls(family, layout, family.write(layout).tokenizer, _table(options, torch.float32))

    def remapped(self) -> torch.Tensor:
        """The workflow's way: pieces, mapping, table."""
        new = [token for token in self.layout.tokens if token in self.layout.grafts]
        pieces = segment(self.family.spec, new)
        ordinary = np.flatnonzero(self.layout.teacher_ids >= 0)
        lengths = np.ones(len(self.table), np.int64)
        mapping = compose(
            self.layout.teacher_ids, pieces, lengths, ordinary, self.table, InitialisationSettings(method="mean")
        )
        return mapping.apply(self.table)


def _beginning(token: str, number: int) -> dict[str, Any]:
    sequence = [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    known = {token: {"id": token, "ids": [number], "tokens": [token]}}
    return {"type": "TemplateProcessing", "single": sequence, "pair": sequence, "special_tokens": known}


def _against_loop(options: Any) -> Turns[torch.Tensor]:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    case = Case.drawn(options)
    teacher, student = (
        PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(spec)))
        for spec in (case.family.spec, case.student)
    )
    # Spread evenly over the new vocabulary.
    chosen = set(range(0, options.rows, max(1, options.rows // options.loop_tokens)))
    some = {token: i for token, i in student.get_vocab().items() if i in chosen}
    held = student.get_vocab()
    sides: dict[str, Callable[[], torch.Tensor]] = {
        "langtailor": case.remapped,
        "loop": lambda: _peer(case.table, teacher, _Target(student, some), options.rows),
        _HELD: lambda: _peer(case.table, teacher, _Held(held), options.rows),
    }
    read = teacher(list(case.layout.tokens))["input_ids"]
    kept = case.layout.teacher_ids
    misread = np.array([old >= 0 and ids[1:] != [old] for old, ids in zip(kept.tolist(), read, strict=True)])

    def check(made: Mapping[str, torch.Tensor]) -> None:
        for side, rows in (("loop", np.array(sorted(some.values()))), (_HELD, np.arange(options.rows))):
            same = torch.isclose(made[side][rows], made["langtailor"][rows], atol=1e-5).all(dim=1).numpy()
            if not (same | misread[rows]).all():
                raise AssertionError(f"{side}: row {rows[~same & ~misread[rows]][0]} differs")

    timed = alternate(sides, options.turns, check)
    scale = options.rows / len(some)
    timed.wall["loop"] = [scale * seconds for seconds in timed.wall["loop"]]
    return timed


class _Target:
    """The student's tokenizer as the peer uses it, of whose tokens it is shown a few at first."""

    def __init__(self, tokenizer: Any, some: Mapping[str, int]) -> None:
        self._tokenizer, self._first = tokenizer, some

    @property
    def vocab(self) -> Mapping[str, int]:
        """The tokens to map when asked first, and whatever the tokenizer answers from then on."""
        first, self._first = self._first, {}
        return first or self._tokenizer.vocab


@dataclass(frozen=True)
class _Held:
    """A tokenizer whose vocabulary costs nothing to look at."""

    vocab: Mapping[str, int]


def _peer(table: torch.Tensor, teacher: Any, student: Any, rows: int) -> torch.Tensor:
    """The peer's own methods, on a model of nothing but a table."""
    from transformer_cloner import EmbeddingStrategy, TransformerCloner

    def model(weight: torch.Tensor) -> torch.nn.Module:
        outer, inner = torch.nn.Module(), torch.nn.Module()
        inner.embed_tokens = torch.nn.Embedding.from_pretrained(weight, freeze=False)
        outer.model = inner
        return outer

    cloner = TransformerCloner.__new__(TransformerCloner)
    cloner.org_model, cloner.org_tokenizer, cloner.target_tokenizer = model(table), teacher, student
    new = torch.empty(rows, table.shape[1], dtype=table.dtype)
    target = model(new)
    for row, pieces in cloner.build_token_id_map(verbose=False).items():
        cloner._map_single_embedding(target, row, pieces, EmbeddingStrategy.MEAN)
    return new


def _loop_row(timed: Turns[torch.Tensor] | None, options: Any) -> Row:
    stage, against = "remap", f"{_PEER}'s per-token loop"
    if timed is None:
        return Row(stage, against, None, 100, note=f"{_PEER} is not installed")
    note = (
        f"from two tokenizers to the table; the loop on {options.loop_tokens} of {options.rows:,} tokens, scaled up: it asks "
        f"for the whole vocabulary once a token. With the vocabulary held: {timed.times(_HELD, 'langtailor'):.1f} x"
    )
    return Row(stage, against, timed.times("loop", "langtailor"), 100, note=note)


# -- the table, beside a copy ------------------------------------------------------------------------------------------


def _against_copy(options: Any, dtype: torch.dtype) -> Turns[torch.Tensor]:
    table = _table(options, dtype)
    mapping = _mapping(options, table)
    finished = mapping.apply(table)

    def check(made: Mapping[str, torch.Tensor]) -> None:
        if not all(torch.equal(finished, found) for found in made.values()):
            raise AssertionError("the tables differ")

    sides: dict[str, Callable[[], torch.Tensor]] = {
        "table": lambda: mapping.apply(table),
        "copy": lambda: torch.empty_like(finished).copy_(finished),
    }
    return alternate(sides, options.turns, check, warm_up=True)


def _vocabulary(options: Any) -> tuple[Ids, list[tuple[int, ...]]]:
    """Teacher ids of the new rows, -1 for grafts, and the pieces of each graft."""
    draw = np.random.default_rng(SEED)
    kept = np.sort(draw.choice(options.teacher_rows, options.rows - options.grafts, replace=False)).astype(np.int32)
    lengths = draw.integers(2, 6, options.grafts)
    pieces = [tuple(np.minimum(draw.zipf(1.2, n), options.teacher_rows - 1).tolist()) for n in lengths]
    return np.concatenate([kept, np.full(options.grafts, -1, np.int32)]), pieces


def _table(options: Any, dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(SEED)
    return torch.randn(options.teacher_rows, options.width, generator=generator).to(dtype)


def _mapping(options: Any, table: torch.Tensor, method: str = "mean") -> RowMapping:
    teacher_ids, pieces = _vocabulary(options)
    lengths = np.ones(len(table), np.int64)
    settings = InitialisationSettings(method=method)
    return compose(teacher_ids, pieces, lengths, np.flatnonzero(teacher_ids >= 0), table, settings)


def _compose_seconds(options: Any) -> dict[str, float]:
    table, seconds = _table(options, torch.float32), {}
    for method in options.methods:
        begin = time.perf_counter()
        _mapping(options, table, method)
        seconds[method] = round(time.perf_counter() - begin, 3)
    return seconds


if __name__ == "__main__":
    main()
