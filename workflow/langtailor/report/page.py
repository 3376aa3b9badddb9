"""Gather the results of a run and write them as one self-contained HTML page."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

from langtailor.config.report import ReportSettings
from langtailor.config.variants import STEPS
from langtailor.evaluation.comparison import Comparison, harm
from langtailor.export.description import COLUMNS, export_rows
from langtailor.models.folder import ModelInfo
from langtailor.models.model_card import public_name
from langtailor.report.certificate import check_rows
from langtailor.report.corpus import CorpusRow, corpus_plot, read_corpus_row
from langtailor.report.formats import duration, figure
from langtailor.report.neighbours import NeighbourPart, read_neighbours
from langtailor.report.plots import inline
from langtailor.report.provenance import versions
from langtailor.report.readings import ReadingGroup, readings
from langtailor.report.retrieval import RetrievalPart, read_retrieval
from langtailor.report.scores import ScorePart
from langtailor.report.stages import StageRun, read_stages
from langtailor.report.steps import StepTable, clone_name, first_step, model_folders, step_table, tokens_per_word
from langtailor.report.summary import Summary, VariantFacts, summarise
from langtailor.report.sweep import Sweep, Variant, sweep
from langtailor.report.training import TrainingPart, read_training
from langtailor.report.usage import Usage, usage
from langtailor.report.vocabulary import VocabularyPart, read_vocabulary
from langtailor.storage.artifacts import Manifest, read_json, read_manifest
from langtailor.storage.atomic import atomic_file
from langtailor.student.retention import retained

_LOG = logging.getLogger("langtailor")


@dataclass(frozen=True)
class VariantPart:
    """What the page says of one variant; the template names each field."""

    name: str
    summary: Summary
    harm: Sequence[str]
    steps: StepTable
    parameters: int
    neighbours: NeighbourPart | None
    scores: ScorePart
    training: TrainingPart | None
    retrieval: RetrievalPart | None
    vocabulary: VocabularyPart
    checks: Sequence[Mapping[str, str]]
    export_columns: Sequence[str]
    export_rows: Sequence[Sequence[str]]
    settings: str


@dataclass(frozen=True)
class Page:
    """What the page says; the template names each field."""

    title: str
    lead: str
    targets: Sequence[str]
    made_of: str
    whole_vocabulary_size: int
    usage: Usage
    readings: Sequence[ReadingGroup]
    stages: Sequence[StageRun]
    corpus: Sequence[CorpusRow]
    corpus_plot: str
    sweep: Sweep | None
    variants: Sequence[VariantPart]
    provenance: Sequence[tuple[str, str]]


def write_report(page: Page, out: Path) -> None:
    """Render a page to one HTML file without outside references."""
    with atomic_file(out) as temporary:
        temporary.write_text(environment().get_template("page.html.jinja").render(report=page), encoding="utf-8")


def environment() -> jinja2.Environment:
    """The templates of the report, with filters for durations, figures, shares and plots."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("langtailor.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    templates.filters |= {"duration": duration, "figure": figure, "retained": retained, "inline": inline}
    # Named here, and not imported by the templates, so that a change of it reruns the report.
    templates.globals["macros"] = templates.get_template("macros.html.jinja").module
    return templates


def gather_page(
    root: Path,
    run: str,
    settings: ReportSettings,
    languages: Sequence[str],
    targets: Sequence[str],
    variants: Mapping[str, Mapping[str, Any]],
    models: Mapping[str, Mapping[str, str]],
    comparisons: Mapping[str, Sequence[Comparison]],
    prompt: str | None,
) -> Page:
    """Read the results of a run.

    Args:
        root: the run's folder.
        run: its name.
        settings: heading of the page, and what counts as enough.
        languages: languages of the corpus.
        targets: target languages.
        variants: complete settings by variant.
        models: folders of scores by step, by variant (:meth:`langtailor.config.run.Settings.compared`).
        comparisons: evaluation by variant.
        prompt: ``teacher.prompt`` of the settings, or ``student.prompt`` where another encoder has it.

    Raises:
        ArtifactError: an artifact is damaged.
    """
    _LOG.info("gathering the results of %s", ", ".join(variants))
    manifest = read_manifest(root / "teacher" / "model", "teacher", verify=False)
    corpus = [read_corpus_row(root / "corpus" / f"{lang}.parquet", lang) for lang in languages]
    steps = next(iter(models.values()))
    base, made_of = _base(root, steps), STEPS[first_step(steps)]
    whole = read_manifest(base, "teacher", verify=False)
    parts = [
        _variant_part(root, name, variant, targets, models[name], comparisons[name])
        for name, variant in variants.items()
    ]
    clones = {name: clone_name(models[name]) for name in variants}
    sections = readings(root, languages, targets, clones, (made_of, base))
    return Page(
        title=settings.title or f"{run}: {public_name(whole.made_by['model'])} tailored to {', '.join(targets)}",
        lead=_lead(manifest, languages, parts),
        targets=targets,
        made_of=made_of,
        whole_vocabulary_size=ModelInfo.read(base).vocabulary_size,
        usage=usage(sections, ModelInfo.read(base), prompt),
        readings=sections,
        stages=read_stages(root / "benchmarks"),
        corpus=corpus,
        corpus_plot=corpus_plot(corpus),
        sweep=_sweep(parts, comparisons, targets, settings.tolerance),
        variants=parts,
        provenance=_provenance(manifest, whole),
    )


def _variant_part(
    root: Path,
    name: str,
    settings: Mapping[str, Any],
    targets: Sequence[str],
    models: Mapping[str, str],
    comparisons: Sequence[Comparison],
) -> VariantPart:
    clone = clone_name(models)
    certificate = read_json(root / "tokenizer" / clone / "certificate.json", "certificate")
    folders = list(model_folders(root, models).values())
    student = ModelInfo.read(folders[-1])
    exports = {made: root / "export" / name / made for made in settings["export"]["formats"]}
    share = settings["vocabulary"]["graft"]["share"]
    vocabulary = read_vocabulary(root, name, clone, student.vocabulary_size, share, certificate)
    return VariantPart(
        name=name,
        summary=summarise(_facts(root, name, models, student, vocabulary.new_tokens, targets), comparisons),
        harm=harm(comparisons),
        steps=step_table(root, models, comparisons, targets, exports),
        parameters=student.parameters,
        neighbours=read_neighbours(root / "evaluation" / list(models.values())[-1], comparisons, targets),
        scores=ScorePart.of(models, comparisons),
        training=read_training(root / "distillation" / name / "model") if "trained" in models else None,
        retrieval=read_retrieval(root, folders[-1]) if "retrieval" in models else None,
        vocabulary=vocabulary,
        checks=check_rows(certificate),
        export_columns=COLUMNS,
        export_rows=export_rows(exports),
        settings=yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True),
    )


def _facts(
    root: Path, name: str, models: Mapping[str, str], student: ModelInfo, new_tokens: int, targets: Sequence[str]
) -> VariantFacts:
    folders = root / "teacher" / "model", _base(root, models)
    names = [public_name(read_manifest(folder, "teacher", verify=False).made_by["model"]) for folder in folders]
    teacher = ModelInfo.read(folders[0])
    return VariantFacts(
        teacher_name=names[0],
        teacher=teacher,
        base_name=names[1],
        base=teacher if folders[0] == folders[1] else ModelInfo.read(folders[1]),
        student=student,
        new_tokens=new_tokens,
        reduction=_reduction(root / "reduction" / name / "model") if {"reduced", "mapped"} & set(models) else {},
        trained="trained" in models or "retrieval" in models,
        words=_words(root, models, targets),
    )


def _base(root: Path, models: Mapping[str, str]) -> Path:
    """The folder of the model that a variant is made of."""
    return model_folders(root, models)[first_step(models)]


def _words(
    root: Path, models: Mapping[str, str], targets: Sequence[str]
) -> dict[str, tuple[float | None, float | None]]:
    """Tokens per word of the model whose vocabulary was cut and of the student, by target language."""
    whole, student = (tokens_per_word(root, step, models) for step in (first_step(models), list(models)[-1]))
    return {lang: (whole[lang], student[lang]) for lang in targets}


def _reduction(model: Path) -> Mapping[str, Any]:
    facts: Mapping[str, Any] = read_manifest(model, "clone", verify=False).facts["reduction"]
    return facts


def _sweep(
    parts: Sequence[VariantPart],
    comparisons: Mapping[str, Sequence[Comparison]],
    targets: Sequence[str],
    tolerance: float,
) -> Sweep | None:
    if len(parts) < 2:
        return None
    variants = [Variant(part.name, part.vocabulary.size, part.parameters, comparisons[part.name]) for part in parts]
    return sweep(variants, targets, tolerance)


def _lead(teacher: Manifest, languages: Sequence[str], parts: Sequence[VariantPart]) -> str:
    commit = f" at commit {teacher.inputs['commit']}" if teacher.inputs.get("commit") else ""
    kept = "one language" if len(languages) == 1 else f"{len(languages)} languages"
    students = "one student" if len(parts) == 1 else f"{len(parts)} students"
    return f"Teacher {public_name(teacher.made_by['model'])}{commit}; {kept} kept; {students}."


def _provenance(teacher: Manifest, whole: Manifest) -> list[tuple[str, str]]:
    rows = []
    for what, model in {"teacher": teacher, **({} if whole == teacher else {STEPS["base"]: whole})}.items():
        rows += [(what, str(model.made_by["model"]))]
        rows += [(f"{what} {key}", str(value)) for key, value in model.inputs.items() if value]
    return [*rows, *versions().items()]
