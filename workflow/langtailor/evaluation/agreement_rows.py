"""By which method the rows of new tokens are made, found by what they do to the vectors.

No method is best for every teacher: one that does not know the target language gains most by what translates a new token,
one that does by a map learned on its own tokens, and a language model that was never trained for sentences by the mean of
the pieces. So the untrained clone of each is made and reads the validation split, and the one is taken whose vectors are
nearest to the teacher's stored ones.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from langtailor.clone.clone import clone_model
from langtailor.config.initialisation import InitialisationSettings
from langtailor.config.teacher import TeacherSettings
from langtailor.corpus.reading import read_text_pairs, read_texts
from langtailor.errors import ConfigError
from langtailor.evaluation.evaluator import Evaluator
from langtailor.models.similarity import COSINE, unit
from langtailor.storage import tables
from langtailor.storage.artifacts import read_json, write_json
from langtailor.storage.atomic import scratch_directory
from langtailor.vectors.store import VectorStore
from langtailor.vocabulary.table import table_to_layout

_LOG = logging.getLogger("langtailor")
_KIND = "row method"
#: Methods that are tried; the simplest one that is best is taken.
_CANDIDATES = ("mean", "learned", "aligned")
#: Validation passages of a language that are read. They come in the order of a hash, so the first are a sample.
_PASSAGES = 500


@dataclass(frozen=True)
class RowMethodResult:
    """What a method gives.

    Attributes:
        method: its name.
        cosine: mean cosine of the untrained clone's vectors to the teacher's stored ones, by language.
        target_cosine: the mean of these over the target languages.
    """

    method: str
    cosine: Mapping[str, float]
    target_cosine: float


@dataclass(frozen=True)
class RowMethodTrials:
    """Makes and measures untrained clones of one vocabulary.

    Attributes:
        teacher: the teacher's folder.
        tokenizer: the new tokenizer.
        vocabulary: the table that it was written from.
        corpora: ``corpus/{lang}.parquet`` by language.
        vectors: shards with the teacher's vectors, by language, in order; the validation split is read.
        reading: how the teacher reads a text.
        targets: languages for which tokens are grafted.
        seed: of random rows.
        device: ``cpu`` or ``cuda``.
        out: the result; temporary files are written next to it.
    """

    teacher: Path
    tokenizer: Path
    vocabulary: Path
    corpora: Mapping[str, Path]
    vectors: Mapping[str, Sequence[Path]]
    reading: TeacherSettings
    targets: Sequence[str]
    seed: int
    device: str
    out: Path

    def run(self, settings: InitialisationSettings) -> list[RowMethodResult]:
        """Try all methods that the settings leave open; one alone where there are no new tokens.

        Raises:
            ConfigError: the validation split has no passage.
        """
        if settings.method != "agreement":
            return [self._try(settings)]
        methods = _CANDIDATES if self._has_grafts() else _CANDIDATES[:1]
        open_methods = [method for method in methods if method != "aligned" or self._has_pairs()]
        return [self._try(settings.model_copy(update={"method": method})) for method in open_methods]

    def _try(self, settings: InitialisationSettings) -> RowMethodResult:
        with scratch_directory(self.out) as place:
            clone_model(
                *(self.teacher, self.tokenizer, self.vocabulary, settings, self.seed, place / "clone"),
                corpora=self.corpora,
                prompts={lang: self.reading.for_language(lang).prompt for lang in self.corpora},
                device=self.device,
                trust_remote_code=self.reading.trust_remote_code,
            )
            cosine = self._cosine(place / "clone")
        judged = [cosine[lang] for lang in self.targets if lang in cosine] or list(cosine.values())
        result = RowMethodResult(settings.method, cosine, round(float(np.mean(judged)), 6))
        _LOG.info("new rows by %s: cosine %.4f in the target languages", result.method, result.target_cosine)
        return result

    def _cosine(self, clone: Path) -> dict[str, float]:
        evaluator = Evaluator(clone, self.reading, resamples=0, seed=self.seed, device=self.device)
        cosines = {}
        for lang, corpus in self.corpora.items():
            if texts := read_texts(corpus, "validation", _PASSAGES):
                stored = VectorStore.open(list(self.vectors[lang]), "validation").take(np.arange(len(texts)))
                prompt = evaluator.language_prompt(lang)
                vectors = evaluator.vectors(texts, f"encoding {lang}", prompt, similarity=COSINE)
                cosines[lang] = round(float(COSINE.pairs(vectors, unit(stored)).mean()), 6)
        if not cosines:
            raise ConfigError("corpus.quotas.validation", "there is no validation passage to evaluate new tokens on")
        return cosines

    def _has_grafts(self) -> bool:
        table, _ = tables.read_table(self.vocabulary, "vocabulary", tables.VOCABULARY)
        return bool(table_to_layout(table).grafts)

    def _has_pairs(self) -> bool:
        return any(read_text_pairs(corpus, "train") for corpus in self.corpora.values())


def best_result(results: Sequence[RowMethodResult]) -> RowMethodResult:
    """The result that is nearest to the teacher in the target languages; the first of equals."""
    return max(results, key=lambda result: result.target_cosine)


def choose_row_method(trials: RowMethodTrials, settings: InitialisationSettings, out: Path) -> None:
    """Choose the method and write ``clone/{variant}.method.json``.

    Args:
        trials: makes the clones.
        settings: what the methods share.
        out: the file: ``method``, and ``trials``, each with the fields of :class:`RowMethodResult`.

    Raises:
        ConfigError: the validation split has no passage.
    """
    results = trials.run(settings)
    best = best_result(results)
    write_json(out, _KIND, {"method": best.method, "trials": [asdict(result) for result in results]})
    _LOG.info("chosen method of new rows: %s", best.method)


def read_row_method(path: Path) -> tuple[str, list[dict[str, Any]]]:
    """The method that :func:`choose_row_method` wrote, and its trials.

    Raises:
        ArtifactError: the file is damaged.
    """
    content = read_json(path, _KIND)
    return content["method"], content["trials"]
