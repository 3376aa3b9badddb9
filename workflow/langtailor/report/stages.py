"""The pipeline as it ran: jobs, wall time and memory of each rule, from Snakemake's benchmark files."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

#: Rules in the order of the data; a rule that is not here comes last.
ORDER = (
    "fetch_teacher",
    "fetch_base",
    "fetch_documents",
    "list_words",
    "build_corpus",
    "count_tokens",
    "choose_graft_share",
    "select_vocabulary",
    "write_tokenizer",
    "choose_row_method",
    "clone_model",
    "fetch_vectors",
    "teacher_vectors",
    "reduce_clone",
    "project_vectors",
    "tokenize_corpora",
    "distil",
    "write_queries",
    "query_vectors",
    "mine_candidates",
    "project_query_vectors",
    "tokenize_queries",
    "train_for_retrieval",
    "evaluate",
    "assemble_student",
    "export_student",
    "write_report",
    "upload_model",
    "upload_vectors",
)


@dataclass(frozen=True)
class StageRun:
    """What one rule cost.

    Attributes:
        rule: its name.
        jobs: number of jobs that have run.
        seconds: their wall time, added up.
        longest: wall time of the longest job, in seconds.
        peak_mb: largest resident memory of a job, in MiB; ``None`` where Snakemake measured none.
    """

    rule: str
    jobs: int
    seconds: float
    longest: float
    peak_mb: float | None


def read_stages(benchmarks: Path) -> list[StageRun]:
    """Cost of each rule, in the order of the data; rules that have not run are left out."""
    jobs: dict[str, list[dict[str, str]]] = defaultdict(list)
    for path in sorted(benchmarks.rglob("*.tsv")):
        rule = path.relative_to(benchmarks).parts[0].removesuffix(".tsv")
        with path.open(newline="", encoding="utf-8") as stream:
            jobs[rule] += list(csv.DictReader(stream, delimiter="\t"))
    return [_summary(rule, jobs[rule]) for rule in sorted(jobs, key=_place) if jobs[rule]]


def _place(rule: str) -> tuple[int, str]:
    return (ORDER.index(rule) if rule in ORDER else len(ORDER)), rule


def _summary(rule: str, rows: list[dict[str, str]]) -> StageRun:
    seconds = [float(row["s"]) for row in rows]
    memory = [float(row["max_rss"]) for row in rows if row["max_rss"] not in ("-", "NA", "")]
    return StageRun(rule, len(rows), sum(seconds), max(seconds), max(memory, default=None))
