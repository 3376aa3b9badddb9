"""How many of a budget's tokens may be new, found by what they do to the vectors.

New tokens make text shorter, but their rows are made up. So shares are tried: the tokenizer and the untrained clone of each
are made, and the clone reads the validation split. The largest share is chosen at which no language's mean cosine to the
teacher's stored vectors falls more than a tolerance below that of the clone without new tokens. None at all is a good
answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from langtailor.config.initialisation import InitialisationSettings
from langtailor.config.teacher import TeacherSettings
from langtailor.config.vocabulary import VocabularySettings
from langtailor.errors import ConfigError
from langtailor.evaluation.agreement_rows import RowMethodTrials, best_result
from langtailor.storage.artifacts import read_json, write_json
from langtailor.storage.atomic import scratch_directory
from langtailor.tokenizer.write import write_tokenizer
from langtailor.vocabulary.select import select_vocabulary

_LOG = logging.getLogger("langtailor")
#: Shares that may be chosen, with the largest one that the settings allow.
_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)


@dataclass(frozen=True)
class ShareResult:
    """What a share does.

    Attributes:
        share: share of the budget offered to new tokens.
        grafts: new tokens that there were.
        cosine: mean cosine of the clone's vectors to the stored ones, by language.
        fertility: tokens per word, by language.
        harm: the most by which a language's cosine is below that without new tokens.
    """

    share: float
    grafts: int
    cosine: Mapping[str, float]
    fertility: Mapping[str, float]
    harm: float = 0.0


@dataclass(frozen=True)
class ShareTrials:
    """Makes and measures the untrained clone of a vocabulary.

    Attributes:
        teacher: the teacher's folder.
        counts: ``counts/{lang}.parquet`` by language.
        corpora: ``corpus/{lang}.parquet`` by language.
        vectors: shards with the teacher's vectors, by language, in order; the validation split is read.
        vocabulary: budget and grafts.
        initialisation: how the rows of new tokens are made.
        reading: how the teacher reads a text.
        weights: weight of each language's counts.
        targets: languages for which tokens are grafted.
        prompts: prompts that the configuration writes out.
        seed: of random rows.
        device: ``cpu`` or ``cuda``.
        out: the result; temporary files are written next to it.
        donor: ``tokenizer.json`` of a given donor of new tokens.
    """

    teacher: Path
    counts: Mapping[str, Path]
    corpora: Mapping[str, Path]
    vectors: Mapping[str, Sequence[Path]]
    vocabulary: VocabularySettings
    initialisation: InitialisationSettings
    reading: TeacherSettings
    weights: Mapping[str, float]
    targets: Sequence[str]
    prompts: Sequence[str]
    seed: int
    device: str
    out: Path
    donor: Mapping[str, Any] | None = None

    def __call__(self, share: float) -> ShareResult:
        """Offer a share of the budget to new tokens.

        Raises:
            ConfigError: the budget is too small, or the validation split has no passage.
        """
        with scratch_directory(self.out) as place:
            table, tokenizer, clone = (place / part for part in ("vocabulary.parquet", "tokenizer", "clone"))
            graft = self.vocabulary.graft.model_copy(update={"policy": "fixed", "share": share})
            settings = self.vocabulary.model_copy(update={"graft": graft})
            select_vocabulary(
                *(self.teacher, self.counts, self.corpora, self.donor, settings),
                *(self.weights, self.targets, self.prompts, table),
            )
            trust = self.reading.trust_remote_code
            write_tokenizer(
                *(self.teacher, table, self.corpora, self.targets, tokenizer),
                prompts=self.prompts,
                trust_remote_code=trust,
            )
            methods = RowMethodTrials(
                *(self.teacher, tokenizer, table, self.corpora, self.vectors, self.reading),
                *(self.targets, self.seed, self.device, clone),
            )
            certificate = read_json(tokenizer / "certificate.json", "certificate")
            fertility = {lang: row["tokens_per_word"]["new"] for lang, row in certificate["languages"].items()}
            cosine = best_result(methods.run(self.initialisation)).cosine
            return ShareResult(share, certificate["grafted"], cosine, fertility)


def choose_graft_share(trials: Callable[[float], ShareResult], largest: float, tolerance: float, out: Path) -> None:
    """Choose the share of new tokens and write ``vocabulary/{variant}.share.json``.

    More new tokens are taken to do more harm, so that about three shares have to be tried.

    Args:
        trials: tries a share.
        largest: the largest share that may be chosen; 0 means half of the budget.
        tolerance: the most cosine that a language may lose.
        out: the file: ``share``, and ``trials``, each with the fields of :class:`ShareResult`, by share.
    """
    cut = trials(0.0)
    results = {0.0: cut}
    shares = sorted({share for share in _SHARES if share < (largest or 1)} | ({largest} if largest else set()))
    chosen, too_large = 0, len(shares) + 1
    while too_large - chosen > 1:
        middle = (chosen + too_large) // 2
        measured = _harm(trials, shares[middle - 1], cut)
        if measured is not None:
            results[measured.share] = measured
        if measured is not None and measured.harm <= tolerance:
            chosen = middle
        else:
            too_large = middle
    share = shares[chosen - 1] if chosen else 0.0
    _LOG.info("%g %% of the vocabulary is offered to new tokens", 100 * share)
    tried = [asdict(results[share]) for share in sorted(results)]
    write_json(out, "graft share", {"share": share, "tolerance": tolerance, "trials": tried})


def _harm(trials: Callable[[float], ShareResult], share: float, cut: ShareResult) -> ShareResult | None:
    """A share's result with its harm; ``None`` where it leaves too little room for what has to be kept."""
    try:
        measured = trials(share)
    except ConfigError as error:
        _LOG.info("%g %% for new tokens: %s", 100 * share, error)
        return None
    harm = max(cut.cosine[lang] - cosine for lang, cosine in measured.cosine.items())
    _LOG.info("%g %% for new tokens: %.4f of cosine lost", 100 * share, harm)
    return replace(measured, harm=round(max(0.0, harm), 6))
