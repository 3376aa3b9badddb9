"""Run one task for one model."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from langtailor.config.evaluation import (
    AgreementTask,
    BitextTask,
    ClassificationTask,
    ClusteringTask,
    FertilityTask,
    GeometryTask,
    MtebTask,
    RetrievalTask,
    SpeedTask,
    StsTask,
    Task,
    VectorTask,
)
from langtailor.config.teacher import TeacherSettings
from langtailor.corpus.reading import read_corpus, read_text_pairs, read_texts
from langtailor.errors import ConfigError, SourceError
from langtailor.evaluation.bitext import bitext_scores
from langtailor.evaluation.encoding import encode_texts, unit
from langtailor.evaluation.geometry import alignment, uniformity
from langtailor.evaluation.labelled import classification_scores, clustering_scores, read_labelled
from langtailor.evaluation.mteb_task import mteb_scores
from langtailor.evaluation.retrieval import read_judgements, retrieval_scores
from langtailor.evaluation.scores import Evaluation, Score, mean_score
from langtailor.evaluation.similarity import sts_scores
from langtailor.evaluation.speed import speed_scores
from langtailor.models.folder import ModelInfo, resolve_prompt
from langtailor.models.loading import load_teacher
from langtailor.models.tokenizer_file import open_tokenizer
from langtailor.sources.sentence_pairs import read_pairs
from langtailor.storage.artifacts import directory_digest
from langtailor.vectors.store import VectorStore

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

#: Group of the figure over all languages together.
ALL_LANGUAGES = "all"
_LOG = logging.getLogger("langtailor")
_VERSIONS = ("numpy", "scipy", "sentence-transformers", "tokenizers", "torch", "transformers")

Result = tuple[tuple[Score, ...], Mapping[str, tuple[float, ...]], tuple[float, ...]]


class Evaluator:
    """One model, ready to be asked.

    Args:
        model: a sentence-transformers folder.
        teacher: how the teacher is read; clone and student are read the same way.
        resamples: bootstrap resamples behind each interval.
        seed: seeds the bootstrap; the same for all models, so that their figures are paired.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, model: Path, teacher: TeacherSettings, resamples: int, seed: int, device: str) -> None:
        self.folder, self.resamples, self.seed = model, resamples, seed
        self._info = ModelInfo.read(model)
        self.prompt = resolve_prompt(self._info, teacher)
        self._teacher, self._device = teacher, device
        self._loaded: SentenceTransformer | None = None

    @property
    def model(self) -> SentenceTransformer:
        """The model, loaded when first needed: fertility never needs it."""
        if self._loaded is None:
            self._loaded = load_teacher(self.folder, self._teacher, self._device)
        return self._loaded

    def run(self, task: Task, corpora: Mapping[str, Path], vectors: Mapping[str, Sequence[Path]]) -> Result:
        """Scores, items and gold values of a task.

        Args:
            task: what to do.
            corpora: corpus by language, for tasks that read it.
            vectors: shards of the teacher's stored vectors by language, for tasks that read them.
        """
        match task:
            case AgreementTask():
                return self._agreement(corpora, vectors)
            case FertilityTask():
                return self._fertility(corpora)
            case GeometryTask():
                return self._geometry(corpora)
            case SpeedTask():
                return self._speed(task, corpora), {}, ()
            case BitextTask():
                return self._bitext(task, corpora)
            case StsTask():
                return self._sts(task)
            case RetrievalTask():
                return self._retrieval(task)
            case ClassificationTask():
                return self._classification(task)
            case ClusteringTask():
                texts, labels = read_labelled(task.path, task.text, task.label)
                return clustering_scores(self._encode(texts, "encoding", task), labels, self.seed), {}, ()
            case MtebTask():
                return mteb_scores(self.model, task), {}, ()

    def _agreement(self, corpora: Mapping[str, Path], vectors: Mapping[str, Sequence[Path]]) -> Result:
        cosines = {}
        for lang, corpus in corpora.items():
            texts = read_texts(corpus, "test")
            if not texts:
                _LOG.warning("%s: no test passages; agreement leaves it out", lang)
                continue
            stored = unit(VectorStore.open(list(vectors[lang]), "test").take(np.arange(len(texts))))
            own = encode_texts(self.model, texts, self.prompt, f"encoding {lang}")
            cosines[lang] = np.einsum("nd,nd->n", own, stored, dtype=np.float64)
        overall = np.concatenate(list(cosines.values()))
        scores = [mean_score("cosine", overall, self.resamples, self.seed, group=ALL_LANGUAGES)]
        scores += [
            mean_score("cosine", values, self.resamples, self.seed, group=lang) for lang, values in cosines.items()
        ]
        items = {lang: _rounded(values) for lang, values in cosines.items()}
        return tuple(scores), {ALL_LANGUAGES: _rounded(overall), **items}, ()

    def _fertility(self, corpora: Mapping[str, Path]) -> Result:
        tokenizer = open_tokenizer(self.folder)
        scores = []
        for lang, corpus in corpora.items():
            texts = read_texts(corpus, "test")
            if not texts:
                _LOG.warning("%s: no test passages; fertility leaves it out", lang)
                continue
            tokens = sum(len(e.ids) for e in tokenizer.encode_batch_fast(texts, add_special_tokens=False))
            words = sum(len(text.split()) for text in texts)
            characters = sum(len(text) for text in texts)
            scores += [
                Score("tokens per word", round(tokens / words, 4), None, None, len(texts), lang),
                Score("characters per token", round(characters / tokens, 4), None, None, len(texts), lang),
            ]
        return tuple(scores), {}, ()

    def _geometry(self, corpora: Mapping[str, Path]) -> Result:
        spread, aligned = {}, {}
        for lang, corpus in corpora.items():
            table = read_corpus(corpus, "test", columns=["text", "pair"])
            texts, pairs = (table[column].to_pylist() for column in ("text", "pair"))
            spread[lang] = encode_texts(self.model, texts, self.prompt, f"encoding {lang}")
            paired = [row for row, pair in enumerate(pairs) if pair]
            if paired:
                aligned_texts = [pairs[row] for row in paired]
                others = encode_texts(self.model, aligned_texts, self.prompt, f"encoding aligned texts of {lang}")
                aligned[f"{lang} to aligned text"] = alignment(spread[lang][paired], others)
        groups = {ALL_LANGUAGES: np.concatenate(list(spread.values())), **spread}
        scores = [
            Score("uniformity", round(uniformity(vectors), 4), None, None, len(vectors), group)
            for group, vectors in groups.items()
            if len(vectors) > 1
        ]
        scores += [mean_score("alignment", of, self.resamples, self.seed, group=group) for group, of in aligned.items()]
        return tuple(scores), {group: _rounded(values) for group, values in aligned.items()}, ()

    def _speed(self, task: SpeedTask, corpora: Mapping[str, Path]) -> tuple[Score, ...]:
        share = -(-task.passages // len(corpora))
        texts = [text for corpus in corpora.values() for text in read_texts(corpus, "test", share)]
        return speed_scores(self.model, self.prompt, texts) if texts else ()

    def _bitext(self, task: BitextTask, corpora: Mapping[str, Path]) -> Result:
        source, target = _corpus_pairs(task.source, corpora) if task.target is None else _file_pairs(task)
        queries = self._encode(source, "encoding source side", task)
        keys = self._encode(target, "encoding target side", task)
        scores, items = bitext_scores(queries, keys, margin=task.margin, resamples=self.resamples, seed=self.seed)
        return scores, items, ()

    def _sts(self, task: StsTask) -> Result:
        pairs = read_pairs(task)
        first = self._encode(pairs.first, "encoding first sentences", task)
        second = self._encode(pairs.second, "encoding second sentences", task)
        cosines = np.einsum("nd,nd->n", first, second, dtype=np.float64)
        scores = sts_scores(cosines, pairs.gold, self.resamples, self.seed)
        return scores, {"cosine": _rounded(cosines)}, tuple(pairs.gold.tolist())

    def _retrieval(self, task: RetrievalTask) -> Result:
        judged = read_judgements(task)
        queries = self._encode(judged.queries, "encoding queries", task, task.query_prompt)
        documents = self._encode(judged.documents, "encoding documents", task, task.document_prompt)
        return *retrieval_scores(queries, documents, judged.relevant, self.resamples, self.seed), ()

    def _classification(self, task: ClassificationTask) -> Result:
        train, test = (read_labelled(path, task.text, task.label) for path in (task.train, task.test))
        parts = (("train", train), ("test", test))
        vectors = [self._encode(texts, f"encoding {part}", task) for part, (texts, _) in parts]
        return *classification_scores(vectors[0], train[1], vectors[1], test[1], self.resamples, self.seed), ()

    def _encode(
        self, texts: Sequence[str], label: str, task: VectorTask, prompt: str | None = None
    ) -> NDArray[np.float32]:
        """Unit vectors as the task wants them, behind a prompt of the model's own or the task's, else the teacher's."""
        width = task.truncate_dim
        if width is not None and width > self._info.dimension:
            raise ConfigError(
                "evaluation.tasks",
                f"truncate_dim {width} is more than the {self._info.dimension} dimensions of {self.folder}",
            )
        chosen = self.prompt if prompt is None else self._info.prompts.get(prompt, prompt)
        vectors = encode_texts(self.model, texts, chosen, label)
        return vectors if width is None else unit(vectors[:, :width])


def evaluate(
    name: str,
    task: Task,
    evaluator: Evaluator,
    corpora: Mapping[str, Path],
    vectors: Mapping[str, Sequence[Path]],
    out: Path,
) -> Evaluation:
    """Run a task, log its main figure and write the result to ``out``."""
    scores, items, gold = evaluator.run(task, corpora, vectors)
    if not scores:
        raise SourceError(f"evaluation task {name}: the corpus has no test passage to evaluate on")
    versions = {package: version(package) for package in _VERSIONS}
    result = Evaluation(name, task.kind, directory_digest(evaluator.folder), scores, items, gold, versions)
    result.write(out)
    _LOG.info("%s: %s %.2f over %d items", name, result.main.metric, result.main.value, result.main.n)
    return result


def _corpus_pairs(lang: str, corpora: Mapping[str, Path]) -> tuple[list[str], list[str]]:
    pairs = read_text_pairs(corpora[lang], "test")
    if not pairs:
        raise SourceError(f"bitext task: the test split of {lang!r} has no aligned texts; give a file and a target")
    source, target = zip(*pairs, strict=True)
    return list(source), list(target)


def _file_pairs(task: BitextTask) -> tuple[list[str], list[str]]:
    source, target = (_lines(Path(path)) for path in (task.source, str(task.target)))
    if len(source) != len(target):
        raise SourceError(f"{task.source} has {len(source)} lines and {task.target} has {len(target)}: not aligned")
    if not source:
        raise SourceError(f"{task.source}: no sentences")
    return source, target


def _lines(path: Path) -> list[str]:
    try:
        # Not splitlines(): a sentence may hold a line separator of another kind.
        return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read as lines of text: {error}") from error


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(np.round(values, 6).tolist())
