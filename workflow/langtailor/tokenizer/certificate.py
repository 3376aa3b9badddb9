"""Checks that a new tokenizer keeps its promises, over the validation split of every language.

The promises (``docs/architecture.md``): text whose teacher tokens were all kept is segmented as by the teacher; no
token is unreachable; no text becomes unknown that the teacher could encode; every file agrees on every id; and all
libraries that open the folder agree. Each is measured relative to the teacher: tokens that it never emits, text that is
unknown to it and passages on which the libraries disagree about *it* are no fault of the new tokenizer.

The first promise is about pruning. Grafts exist to change the segmentation, so it is measured on the new tokenizer
without its grafts, and for the complete one the certificate states how much text they leave as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from langtailor.corpus.reading import read_texts
from langtailor.errors import CertificateError
from langtailor.models.tokenizer_file import tokenizer_of
from langtailor.progress import Progress
from langtailor.storage.batching import batched
from langtailor.storage.json_files import load_json_object
from langtailor.surgery.base import Family, Layout
from langtailor.surgery.unknowns import lost_tokens, unknown_id, unknown_spans
from langtailor.surgery.word_models import encode_words
from langtailor.tokenizer.agreement import LibraryReading, check_agreement

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_LOG = logging.getLogger("langtailor")
_BATCH = 500
_EXAMPLES = 10
_UNEXPECTED = "an unexpected error of langtailor or of the teacher's tokenizer files (please report it)"
#: Passages, over all languages, that are also read with transformers and sentencepiece.
_SAMPLE = 2_000


@dataclass(frozen=True)
class Counts:
    """Counts over passages, which add up.

    Attributes:
        passages: passages read.
        characters: characters in them.
        words: words in them, separated by white space.
        teacher_tokens: tokens by the teacher.
        pruned_tokens: tokens by the new tokenizer without its grafts.
        tokens: tokens by the new tokenizer.
        retained: passages whose teacher tokens were all kept, none of them unknown.
        retained_identical: of these, segmented identically without the grafts: must be all.
        retained_untouched: of these, segmented identically with the grafts.
        retained_unknown: passages whose teacher tokens were all kept, with unknown ones among them.
        retained_unknown_identical: of these, segmented identically without the grafts.
        teacher_unknown: characters that are unknown to the teacher.
        unknown: characters that are unknown to the new tokenizer: must not be more.
        round_trips: passages known to both and decoded.
        round_trip_failures: of these, decoded to another text than by the teacher: must be none.
    """

    passages: int = 0
    characters: int = 0
    words: int = 0
    teacher_tokens: int = 0
    pruned_tokens: int = 0
    tokens: int = 0
    retained: int = 0
    retained_identical: int = 0
    retained_untouched: int = 0
    retained_unknown: int = 0
    retained_unknown_identical: int = 0
    teacher_unknown: int = 0
    unknown: int = 0
    round_trips: int = 0
    round_trip_failures: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})

    def report(self) -> dict[str, Any]:
        """The counts with their shares and ratios; a ratio to nothing is ``None``."""
        return {
            **asdict(self),
            "retained_share": _ratio(self.retained + self.retained_unknown, self.passages),
            "identical_share": _ratio(self.retained_identical, self.retained),
            "untouched_share": _ratio(self.retained_untouched, self.retained),
            "unknown_share": _ratio(self.unknown, self.characters),
            "teacher_unknown_share": _ratio(self.teacher_unknown, self.characters),
            "tokens_per_word": {
                "teacher": _ratio(self.teacher_tokens, self.words),
                "pruned": _ratio(self.pruned_tokens, self.words),
                "new": _ratio(self.tokens, self.words),
            },
            "characters_per_token": {
                "teacher": _ratio(self.characters, self.teacher_tokens),
                "pruned": _ratio(self.characters, self.pruned_tokens),
                "new": _ratio(self.characters, self.tokens),
            },
        }


def certify(
    reading: LibraryReading,
    family: Family,
    layout: Layout,
    folder: Path,
    corpora: Mapping[str, Path],
    targets: Sequence[str],
) -> dict[str, Any]:
    """Check every promise and refuse a tokenizer that breaks one.

    Args:
        reading: how the library reads text for the teacher, with its prompts.
        family: the teacher's tokenizer.
        layout: the new vocabulary.
        folder: the new tokenizer's files.
        corpora: ``corpus/{lang}.parquet`` by language.
        targets: the languages that the grafts are for.

    Returns:
        The certificate, JSON-ready.

    Raises:
        CertificateError: names each broken promise with its figures.
        ArtifactError: a corpus is damaged.
    """
    comparison = _Comparison.of(family, layout, folder)
    counts: dict[str, Counts] = {}
    broken: list[str] = []
    samples: list[str] = []
    for lang, path in sorted(corpora.items()):
        texts = read_texts(path, "validation")
        samples += texts[: -(-_SAMPLE // len(corpora))]
        counts[lang], lost = comparison.passages(texts, f"certifying {lang}")
        broken += _problems(lang, counts[lang], lost)
    _LOG.info("checking that every token can be reached")
    unreachable = family.unreachable(layout)
    if unreachable:
        examples = unreachable[:_EXAMPLES]
        broken.append(f"{len(unreachable)} tokens are unreachable, among them {examples}; {_UNEXPECTED}")
    _LOG.info("comparing with sentence-transformers, transformers and sentencepiece")
    agreement = check_agreement(family, layout, reading, folder, samples)
    broken += [f"{problem}; {_UNEXPECTED}" for problem in agreement.problems]
    if broken:
        raise CertificateError("the new tokenizer breaks its promises: " + ". ".join(broken))
    if not samples:
        _LOG.warning("the validation splits are empty: the certificate covers the files only, not any text")
    return {
        "family": family.name,
        "size": len(layout),
        "kept": int(np.count_nonzero(layout.teacher_ids >= 0)),
        "grafted": len(layout.grafts),
        "padding": len(layout.padding),
        "targets": list(targets),
        "languages": {lang: count.report() for lang, count in counts.items()},
        "all": sum(counts.values(), Counts()).report(),
        "unreachable": len(unreachable),
        "prompts": {name: comparison.prompt(text) for name, text in reading.prompts.items()},
        "agreement": agreement.report,
    }


@dataclass(frozen=True)
class _Comparison:
    """The three tokenizers and how their ids correspond.

    Attributes:
        teacher: the teacher's tokenizer.
        pruned: the new one without its grafts.
        new: the new one, as its file has it.
        to_pruned: int32 by teacher id, its id in ``pruned``; -1 where it was dropped.
        to_new: the same for ``new``.
        tokens: token by teacher id.
        unknowns: id of the unknown token in ``teacher`` and ``new``; ``None`` where there is none.
    """

    teacher: Tokenizer
    pruned: Tokenizer
    new: Tokenizer
    to_pruned: np.ndarray[Any, np.dtype[np.int32]]
    to_new: np.ndarray[Any, np.dtype[np.int32]]
    tokens: Sequence[str | None]
    unknowns: tuple[int | None, int | None]

    @classmethod
    def of(cls, family: Family, layout: Layout, folder: Path) -> _Comparison:
        kept = np.sort(layout.teacher_ids[layout.teacher_ids >= 0])
        pruned = family.layout(kept, (), 0)
        spec = load_json_object(folder / "tokenizer.json")
        return cls(
            teacher=tokenizer_of(family.spec),
            pruned=tokenizer_of(family.write(pruned).tokenizer),
            new=tokenizer_of(spec),
            to_pruned=_new_ids(pruned, len(family.tokens)),
            to_new=_new_ids(layout, len(family.tokens)),
            tokens=family.tokens,
            unknowns=(unknown_id(family.spec), unknown_id(spec)),
        )

    def passages(self, texts: Sequence[str], label: str) -> tuple[Counts, set[str]]:
        """Counts over the passages, and the dropped tokens without which text became unknown."""
        total, lost = Counts(), set[str]()
        with Progress(label, len(texts), "passage") as progress:
            for batch in batched(texts, _BATCH):
                rows = [list(encode_words(tokenizer, batch)) for tokenizer in (self.teacher, self.pruned, self.new)]
                total += self._round_trips(rows[0], rows[2])
                for text, *ids in zip(batch, *rows, strict=True):
                    total += self._passage(text, *ids)
                    if self._has_unknown(ids[0], ids[2]):
                        unknown, lost_tokens_of_text = self._unknown(text)
                        total += unknown
                        lost |= lost_tokens_of_text
                progress.update(len(batch))
        return total, lost

    def prompt(self, text: str) -> dict[str, Any]:
        """A prompt with its tokens by the teacher and by the new tokenizer."""
        sides = {"teacher": self.teacher, "new": self.new}
        return {"text": text} | {
            name: tokenizer.encode(text, add_special_tokens=False).tokens for name, tokenizer in sides.items()
        }

    def _passage(self, text: str, teacher: list[int], pruned: list[int], new: list[int]) -> Counts:
        ids = np.array(teacher, np.int64)
        expected = self.to_pruned[ids]
        retained, encodable = bool((expected >= 0).all()), self.unknowns[0] not in teacher
        identical = retained and expected.tolist() == pruned
        return Counts(
            passages=1,
            characters=len(text),
            words=len(text.split()),
            teacher_tokens=len(teacher),
            pruned_tokens=len(pruned),
            tokens=len(new),
            retained=int(retained and encodable),
            retained_identical=int(identical and encodable),
            retained_untouched=int(retained and encodable and self.to_new[ids].tolist() == new),
            retained_unknown=int(retained and not encodable),
            retained_unknown_identical=int(identical and not encodable),
        )

    def _round_trips(self, teacher: list[list[int]], new: list[list[int]]) -> Counts:
        encodable = [(old, ids) for old, ids in zip(teacher, new, strict=True) if not self._has_unknown(old, ids)]
        before = self.teacher.decode_batch([old for old, _ in encodable], skip_special_tokens=False)
        after = self.new.decode_batch([ids for _, ids in encodable], skip_special_tokens=False)
        failures = sum(a != b for a, b in zip(before, after, strict=True))
        return Counts(round_trips=len(encodable), round_trip_failures=failures)

    def _has_unknown(self, teacher: list[int], new: list[int]) -> bool:
        return self.unknowns[0] in teacher or self.unknowns[1] in new

    def _unknown(self, text: str) -> tuple[Counts, set[str]]:
        old = self.teacher.encode(text, add_special_tokens=False)
        spans = unknown_spans(self.new.encode(text, add_special_tokens=False), self.unknowns[1])
        before = unknown_spans(old, self.unknowns[0])
        lost = {self.tokens[i] for i in lost_tokens(old, spans, self.unknowns[0]) if self.to_new[i] < 0}
        return Counts(teacher_unknown=_length(before), unknown=_length(spans)), {t for t in lost if t is not None}


def _problems(lang: str, counts: Counts, lost: set[str]) -> Iterator[str]:
    """Broken promises in one language; ``lost`` are the dropped tokens without which text became unknown."""
    if changed := counts.retained - counts.retained_identical:
        yield (
            f"{lang}: {changed} of {counts.retained} passages with all tokens kept are segmented otherwise; "
            f"{_UNEXPECTED}"
        )
    if failed := counts.round_trip_failures:
        yield f"{lang}: {failed} of {counts.round_trips} passages decode otherwise than by the teacher; {_UNEXPECTED}"
    if counts.unknown > counts.teacher_unknown:
        yield (
            f"{lang}: {counts.unknown} of {counts.characters} characters of the validation split are unknown to the "
            f"new tokenizer, {counts.teacher_unknown} to the teacher. Add the tokens that encoded them to "
            f"`vocabulary.keep_tokens`: {sorted(lost)}"
        )


def _new_ids(layout: Layout, size: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    """New id by teacher id, -1 where there is none."""
    new = np.full(size, -1, np.int32)
    kept = np.flatnonzero(layout.teacher_ids >= 0)
    new[layout.teacher_ids[kept]] = kept
    return new


def _ratio(numerator: int, denominator: int) -> float | None:
    return round(numerator / denominator, 6) if denominator else None


def _length(spans: Sequence[tuple[int, int]]) -> int:
    return sum(end - start for start, end in spans)
