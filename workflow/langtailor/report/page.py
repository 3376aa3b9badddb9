"""Gather what a run left behind and write it as one self-contained HTML page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from langtailor.config.base import SPLITS
from langtailor.evaluation.comparison import MODELS, Comparison
from langtailor.models.folder import ModelInfo
from langtailor.report import plots
from langtailor.report.provenance import versions
from langtailor.report.stages import StageRun, read_stages
from langtailor.storage import tables
from langtailor.storage.artifacts import Manifest, atomic_file, read_json, read_manifest

_GRAFTS_SHOWN = 25
_FERTILITY, _AGREEMENT, _SPEED = "tokens per word", "cosine", "passages per second"


@dataclass(frozen=True)
class Tile:
    """A headline figure."""

    label: str
    value: str
    note: str


@dataclass(frozen=True)
class Plot:
    """A plot and what it shows."""

    svg: str
    caption: str


@dataclass(frozen=True)
class CorpusRow:
    """One language of the corpus."""

    lang: str
    source: str
    passages: Mapping[str, int]
    wanted: Mapping[str, int]
    characters: int
    documents: int
    dropped: str


@dataclass(frozen=True)
class VariantPart:
    """What the page says of one variant; the template names each field."""

    name: str
    tiles: Sequence[Tile]
    scores: Sequence[Comparison]
    score_plots: Sequence[Plot]
    vocabulary_size: int
    teacher_vocabulary_size: int
    composition_plot: str
    fertility_plot: str
    parameters: int
    token_columns: Sequence[str]
    token_rows: Sequence[Mapping[str, Any]]
    graft_rows: Sequence[Mapping[str, Any]]
    share_rows: Sequence[Mapping[str, Any]]
    share_plot: str
    checks: Sequence[Mapping[str, str]]
    sizes: Sequence[Mapping[str, str]]
    training_plots: Sequence[Plot]
    settings: str


@dataclass(frozen=True)
class Sweep:
    """The variants of a run side by side."""

    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    plots: Sequence[Plot]


@dataclass(frozen=True)
class Page:
    """What the page says; the template names each field."""

    title: str
    summary: str
    targets: Sequence[str]
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
    """The templates of the report, with the filters ``duration`` (seconds) and ``figure``."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("langtailor.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    templates.filters |= {"duration": _duration, "figure": _figure}
    return templates


def gather_page(
    root: Path,
    run: str,
    title: str | None,
    languages: Sequence[str],
    targets: Sequence[str],
    variants: Mapping[str, Mapping[str, Any]],
    comparisons: Mapping[str, Sequence[Comparison]],
) -> Page:
    """Read what a run left behind.

    Args:
        root: the run's folder.
        run: its name.
        title: heading of the page; ``None`` makes one.
        languages: languages of the corpus.
        targets: target languages.
        variants: complete settings by variant.
        comparisons: evaluation by variant.

    Raises:
        ArtifactError: an artifact is damaged.
    """
    teacher = read_manifest(root / "teacher" / "model", "teacher", verify=False)
    corpus = [_corpus_row(root / "corpus" / f"{lang}.parquet", lang) for lang in languages]
    before = ModelInfo.read(root / "teacher" / "model")
    parts = [
        _variant_part(root, name, settings, before, targets, comparisons[name]) for name, settings in variants.items()
    ]
    return Page(
        title=title or f"{run}: {teacher.made_by['model']} tailored to {', '.join(targets)}",
        summary=_summary(teacher, languages, parts),
        targets=targets,
        stages=read_stages(root / "benchmarks"),
        corpus=corpus,
        corpus_plot=plots.grouped_bars(
            [row.lang for row in corpus], {s: [row.passages[s] for row in corpus] for s in SPLITS}, "passages"
        ),
        sweep=_sweep(parts, comparisons, targets) if len(parts) > 1 else None,
        variants=parts,
        provenance=_provenance(teacher),
    )


def _variant_part(
    root: Path,
    name: str,
    settings: Mapping[str, Any],
    before: ModelInfo,
    targets: Sequence[str],
    comparisons: Sequence[Comparison],
) -> VariantPart:
    vocabulary, made = tables.read_table(root / "vocabulary" / f"{name}.parquet", "vocabulary", tables.VOCABULARY)
    certificate = read_json(root / "tokenizer" / name / "certificate.json", "certificate")
    distilled = root / "distillation" / name / "model"
    after = ModelInfo.read(distilled)
    training = read_manifest(distilled, "distilled", verify=False)
    fertility = {row.group: row for row in comparisons if row.metric == _FERTILITY and row.group}
    return VariantPart(
        name=name,
        tiles=_tiles(before, after, fertility, comparisons, targets),
        scores=[row for row in comparisons if row.task not in _fertility_tasks(comparisons)],
        score_plots=_score_plots(comparisons),
        vocabulary_size=after.vocabulary_size,
        teacher_vocabulary_size=before.vocabulary_size,
        composition_plot=_composition_plot(name, vocabulary["origin"].to_pylist()),
        fertility_plot=_fertility_plot(certificate),
        parameters=after.parameters,
        token_columns=_TOKEN_COLUMNS,
        token_rows=_token_rows(certificate, made),
        graft_rows=_graft_rows(vocabulary),
        share_rows=_share_rows(made, settings["vocabulary"]["graft"]["share"]),
        share_plot=_share_plot(made) if made.facts["marginal_curve"] else "",
        checks=_checks(certificate),
        sizes=_sizes(before, after),
        training_plots=_training_plots(distilled / "training.jsonl", training),
        settings=yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True),
    )


def _sweep(
    parts: Sequence[VariantPart], comparisons: Mapping[str, Sequence[Comparison]], targets: Sequence[str]
) -> Sweep:
    """What each variant costs and what it keeps of the teacher."""
    main = {part.name: {row.task: row for row in _main_rows(comparisons[part.name])} for part in parts}
    tasks = [
        task
        for task, row in main[parts[0].name].items()
        if row.metric != _SPEED and all(found[task].retention is not None for found in main.values())
    ]
    speed = next((task for task, row in main[parts[0].name].items() if row.metric == _SPEED), None)
    fertile = [
        {row.group: row.scores["student"].value for row in comparisons[part.name] if row.metric == _FERTILITY}
        for part in parts
    ]
    spoken = [lang for lang in targets if all(lang in found for found in fertile)]
    shown = [*tasks, *([speed] if speed else [])]
    names = [part.name for part in parts]
    kept = {task: [main[name][task].retention or 0.0 for name in names] for task in tasks}
    axes = {"parameters, millions": [part.parameters / 1e6 for part in parts]}
    if speed:
        axes[_SPEED] = [main[name][speed].scores["student"].value for name in names]
    caption = "Main figure of each task, student over teacher, against the student's {}."
    drawn = [Plot(plots.trade_off(kept, x, names, label), caption.format(label)) for label, x in axes.items() if kept]
    rows = [
        {
            "name": part.name,
            "cells": [
                f"{part.vocabulary_size:,}",
                _millions(part.parameters),
                *(_two(found[lang]) for lang in spoken),
                *(_figure(main[part.name][task].scores["student"].value) for task in shown),
            ],
        }
        for part, found in zip(parts, fertile, strict=True)
    ]
    return Sweep(["tokens", "parameters", *(f"tokens a word, {lang}" for lang in spoken), *shown], rows, drawn)


def _corpus_row(path: Path, lang: str) -> CorpusRow:
    manifest = tables.read_table_manifest(path, "corpus", tables.CORPUS)
    facts = manifest.facts
    dropped = ", ".join(f"{reason.replace('_', ' ')} {count:,}" for reason, count in sorted(facts["dropped"].items()))
    return CorpusRow(
        lang=lang,
        source=manifest.inputs["documents"]["source"]["kind"],
        passages=facts["passages"],
        wanted=manifest.made_by["quotas"],
        characters=sum(facts["characters"].values()),
        documents=facts["documents"]["read"],
        dropped=dropped or "nothing",
    )


def _summary(teacher: Manifest, languages: Sequence[str], parts: Sequence[VariantPart]) -> str:
    commit = f" at commit {teacher.inputs['commit']}" if teacher.inputs.get("commit") else ""
    students = "one student" if len(parts) == 1 else f"{len(parts)} students"
    return f"Teacher {teacher.made_by['model']}{commit}; {len(languages)} languages kept; {students}."


def _tiles(
    before: ModelInfo,
    after: ModelInfo,
    fertility: Mapping[str, Comparison],
    comparisons: Sequence[Comparison],
    targets: Sequence[str],
) -> list[Tile]:
    share = after.parameters / before.parameters
    tiles = [
        Tile("parameters", _millions(after.parameters), f"{share:.0%} of {_millions(before.parameters)}"),
        Tile("tokens", f"{after.vocabulary_size:,}", f"teacher: {before.vocabulary_size:,}"),
    ]
    for lang in targets:
        if row := fertility.get(lang):
            note = f"teacher: {row.scores['teacher'].value:.2f}"
            tiles.append(Tile(f"tokens a word, {lang}", f"{row.scores['student'].value:.2f}", note))
    for task in dict.fromkeys(row.task for row in comparisons):
        main = next(row for row in comparisons if row.task == task)
        if main.metric != _FERTILITY:
            scores = main.scores
            note = f"clone {_figure(scores['clone'].value)}, teacher {_figure(scores['teacher'].value)}"
            tiles.append(Tile(f"{task}: {main.metric}", _figure(scores["student"].value), note))
    return tiles


def _fertility_tasks(comparisons: Sequence[Comparison]) -> set[str]:
    return {row.task for row in comparisons if row.metric == _FERTILITY}


def _score_plots(comparisons: Sequence[Comparison]) -> list[Plot]:
    rows = [row for row in comparisons if row.metric == _AGREEMENT and row.group]
    found = []
    if rows:
        series = {model: [row.scores[model].value for row in rows] for model in MODELS}
        caption = "Mean cosine to the teacher's stored vectors on the test split, by language."
        found.append(Plot(plots.grouped_bars([str(row.group) for row in rows], series, "cosine"), caption))
    others = [
        row for row in _main_rows(comparisons) if row.metric not in (_AGREEMENT, _SPEED) and not row.less_is_better
    ]
    if others:
        series = {model: [row.scores[model].value for row in others] for model in MODELS}
        svg = plots.grouped_bars([row.task for row in others], series, "score")
        found.append(Plot(svg, "Main figure of each other task."))
    return found


def _main_rows(comparisons: Sequence[Comparison]) -> list[Comparison]:
    first: dict[str, Comparison] = {}
    for row in comparisons:
        first.setdefault(row.task, row)
    return list(first.values())


def _composition_plot(name: str, origins: Sequence[str]) -> str:
    counts = Counter(origins)
    return plots.stacked_bars([name], {origin: [counts[origin]] for origin in sorted(counts)}, "tokens")


def _fertility_plot(certificate: Mapping[str, Any]) -> str:
    languages = certificate["languages"]
    labels = {"teacher": "teacher", "pruned": "pruned only", "new": "student"}
    series = {
        label: [facts["tokens_per_word"][key] or 0.0 for facts in languages.values()] for key, label in labels.items()
    }
    return plots.grouped_bars(list(languages), series, "tokens a word")


_TOKEN_COLUMNS = (
    "coverage by kept tokens",
    "tokens a word: teacher",
    "pruned only",
    "student",
    "characters a token: teacher",
    "student",
    "passages whose tokens were all kept",
    "of these cut alike",
    "untouched by grafts",
)


def _token_rows(certificate: Mapping[str, Any], vocabulary: Manifest) -> list[dict[str, Any]]:
    rows = []
    for lang, facts in certificate["languages"].items():
        words, characters = facts["tokens_per_word"], facts["characters_per_token"]
        cells = [
            _percent(vocabulary.facts["coverage"].get(lang)),
            *(_two(words[key]) for key in ("teacher", "pruned", "new")),
            *(_two(characters[key]) for key in ("teacher", "new")),
            f"{facts['retained']:,} of {facts['passages']:,}",
            _percent(facts["identical_share"]),
            _percent(facts["untouched_share"]),
        ]
        rows.append({"lang": lang, "cells": cells})
    return rows


def _graft_rows(vocabulary: pa.Table) -> list[dict[str, Any]]:
    grafts = vocabulary.filter(pc.equal(vocabulary["origin"], "target-language"))
    best = grafts.sort_by([("count", "descending"), ("new_id", "ascending")]).slice(0, _GRAFTS_SHOWN)
    rows: list[dict[str, Any]] = best.select(["token", "count", "reason"]).to_pylist()
    return rows


def _share_rows(vocabulary: Manifest, fixed: float) -> list[dict[str, Any]]:
    """The shares that the marginal policy tried, and what each spends; nothing for the fixed policy."""
    return [
        {
            "share": _percent(point["share"]),
            "grafts": f"{point['grafts']:,}",
            "objective": _percent(point["objective"]),
            "fertility": ", ".join(f"{lang} {value:.2f}" for lang, value in point["fertility"].items()),
            "chosen": point["share"] == vocabulary.facts["graft_share"],
            "fixed": point["share"] == fixed,
        }
        for point in vocabulary.facts["marginal_curve"]
    ]


def _share_plot(vocabulary: Manifest) -> str:
    curve = vocabulary.facts["marginal_curve"]
    points = ([point["share"] for point in curve], [100 * point["objective"] for point in curve])
    return plots.curves({"all languages": points}, "share of the budget for new tokens", "tokens, % of the teacher's")


def _checks(certificate: Mapping[str, Any]) -> list[dict[str, str]]:
    whole = certificate["all"]
    checks = {
        "family": certificate["family"],
        "passages whose tokens were all kept, and cut alike": f"{whole['retained_identical']:,} of {whole['retained']:,}",
        "tokens that no text reaches": f"{certificate['unreachable']:,}",
        "texts that do not come back": f"{whole['round_trip_failures']:,} of {whole['round_trips']:,}",
        "unknown tokens, teacher and student": f"{whole['teacher_unknown']:,} and {whole['unknown']:,}",
    }
    for reader, facts in certificate["agreement"].items():
        checks[f"{reader} gives the same ids"] = f"{facts['agree']:,} of {facts['passages']:,}"
    return [{"label": label, "value": value} for label, value in checks.items()]


def _sizes(before: ModelInfo, after: ModelInfo) -> list[dict[str, str]]:
    table = (before.vocabulary_size * before.hidden_size, after.vocabulary_size * after.hidden_size)
    rows = {
        "parameters": (before.parameters, after.parameters),
        "of these, token embeddings": table,
        "weights on disk, bytes": (before.weight_bytes, after.weight_bytes),
        "tokens in the vocabulary": (before.vocabulary_size, after.vocabulary_size),
    }
    return [
        {"label": label, "teacher": f"{old:,}", "student": f"{new:,}", "ratio": f"{new / old:.2f}"}
        for label, (old, new) in rows.items()
    ]


def _training_plots(log: Path, training: Manifest) -> list[Plot]:
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    steps = [row for row in rows if "validation" not in row]
    looks = [row for row in rows if "validation" in row]
    loss = {
        "train": ([row["step"] for row in steps], [row["loss"] for row in steps]),
        "validation": ([row["step"] for row in looks], [row["validation"]["loss"] for row in looks]),
    }
    langs = sorted(looks[0]["validation"]["languages"]) if looks else []
    cosine = {
        f"validation {lang}": (
            [row["step"] for row in looks],
            [row["validation"]["languages"][lang]["cosine"] for row in looks],
        )
        for lang in langs
    }
    facts = training.facts
    kept = (
        f"{facts['steps']:,} of {facts['planned_steps']:,} steps; the weights of step {facts['kept_step']:,} were kept"
    )
    found = [Plot(plots.curves(loss, "step", "loss"), f"Loss. {kept}.")]
    if cosine:
        found.append(
            Plot(plots.curves(cosine, "step", "cosine"), "Mean cosine to the teacher on the validation split.")
        )
    if looks and "sts" in looks[0]["validation"]:
        sts = {"validation": ([row["step"] for row in looks], [row["validation"]["sts"] for row in looks])}
        found.append(
            Plot(plots.curves(sts, "step", "Spearman"), "Spearman's correlation on the sts_dev_set sentence pairs.")
        )
    return found


def _provenance(teacher: Manifest) -> list[tuple[str, str]]:
    rows = [("teacher", str(teacher.made_by["model"]))]
    rows += [(f"teacher {key}", str(value)) for key, value in teacher.inputs.items() if value]
    return [*rows, *versions().items()]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)} min {rest:02.0f} s" if minutes else f"{rest:.1f} s"


def _figure(value: float) -> str:
    return f"{value:.3f}" if abs(value) <= 1 else f"{value:.2f}"


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f} M"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _two(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
