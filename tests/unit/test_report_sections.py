"""Each section of the page computes its figures from hand-made input: nothing is swapped, scaled or left out."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from langtailor.evaluation.comparison import Comparison, main_rows
from langtailor.evaluation.scores import Score
from langtailor.report import plots
from langtailor.report.certificate import TOKEN_COLUMNS, check_rows, fertility_plot, token_rows
from langtailor.report.corpus import CorpusRow, corpus_plot, corpus_row
from langtailor.report.formats import duration, figure, millions, percent, two_decimals
from langtailor.report.retrieval import SideRow, read_retrieval
from langtailor.report.scores import score_plots, score_tables
from langtailor.report.sweep import Variant, sweep
from langtailor.report.training import training_plots
from langtailor.report.vocabulary import composition_plot, graft_rows, share_plot, share_rows
from langtailor.storage.artifacts import Manifest, seal_directory
from langtailor.storage.tables import CORPUS, VOCABULARY, write_table


@pytest.fixture
def drawn(monkeypatch) -> list[tuple[str, tuple[Any, ...]]]:
    """What was drawn: the kind of each plot and its arguments."""
    calls: list[tuple[str, tuple[Any, ...]]] = []
    for kind in ("dots", "stacked_bars", "curves", "trade_off"):
        monkeypatch.setattr(plots, kind, lambda *arguments, kind=kind: calls.append((kind, arguments)) or f"<{kind}>")
    return calls


def compared(task: str, metric: str, group: str | None, teacher: float, cut: float, trained: float) -> Comparison:
    values = {"teacher": teacher, "cut": cut, "trained": trained}
    scores = {model: Score(metric, value, None, None, 9, group) for model, value in values.items()}
    return Comparison(task, metric, group, scores, {}, {}, metric in ("tokens per word", "uniformity"))


COMPARISONS = [
    compared("agreement", "cosine", "all", 1.0, 0.25, 0.75),
    compared("agreement", "cosine", "de", 0.9, 0.3, 0.6),
    compared("agreement", "cosine", "tr", 0.8, 0.2, 0.7),
    compared("words", "tokens per word", "de", 2.0, 4.0, 3.0),
    compared("words", "tokens per word", "tr", 3.0, 6.0, 1.5),
    compared("speed", "passages per second", None, 100.0, 150.0, 200.0),
    compared("sts", "spearman", None, 80.0, 20.0, 60.0),
    compared("shape", "uniformity", None, -2.0, -1.0, -3.0),
]


# -- numbers ----------------------------------------------------------------------------------------------------------


def test_durations_have_minutes_from_a_minute_on():
    assert [duration(seconds) for seconds in (0.04, 4.25, 59.9, 60, 125.4)] == [
        "0.0 s",
        "4.2 s",
        "59.9 s",
        "1 min 00 s",
        "2 min 05 s",
    ]


def test_figures_up_to_one_have_three_decimals():
    assert [figure(value) for value in (0.1234, -1.0, 1.0, 1.004, 79.555, -3)] == [
        "0.123",
        "-1.000",
        "1.000",
        "1.00",
        "79.56",
        "-3.00",
    ]


def test_counts_shares_and_missing_values():
    assert (millions(22_713_216), percent(0.1234), percent(0.0), two_decimals(1.005), two_decimals(0.0)) == (
        "22.7 M",
        "12.3 %",
        "0.0 %",
        "1.00",
        "0.00",
    )
    assert (percent(None), two_decimals(None)) == ("", "")


# -- corpus -----------------------------------------------------------------------------------------------------------


def corpus_manifest(dropped: dict[str, int]) -> Manifest:
    return Manifest(
        "corpus",
        {"quotas": {"train": 100, "validation": 20, "test": 10}},
        {"documents": {"source": {"kind": "files"}}},
        {
            "passages": {"train": 90, "validation": 20, "test": 9},
            "characters": {"train": 5_000, "validation": 300, "test": 45},
            "documents": {"sampled": 99, "read": 77},
            "dropped": dropped,
        },
    )


def test_a_language_has_its_passages_beside_its_quotas():
    row = corpus_row(corpus_manifest({"short": 3, "near_duplicate": 1_001}), "tr")
    assert (row.lang, row.source, row.characters, row.documents) == ("tr", "files", 5_345, 77)
    assert row.passages == {"train": 90, "validation": 20, "test": 9}
    assert row.quotas == {"train": 100, "validation": 20, "test": 10}
    assert row.dropped == "near duplicate 1,001, short 3"
    assert corpus_row(corpus_manifest({}), "tr").dropped == "nothing"


def test_dropped_queries_and_documents_are_told_as_dropped_passages_are(tmp_path, drawn):
    facts = {
        "passages": {"train": 5, "validation": 2, "test": 0},
        "dropped": {"unanswered": 4, "exact_duplicate": 1_200},
    }
    file = tmp_path / "retrieval" / "texts" / "tr" / "queries.parquet"
    write_table(file, CORPUS.empty_table(), Manifest("corpus", facts=facts))
    run = {"steps": 1, "planned_steps": 1, "kept_step": 1}
    seal_directory(tmp_path, Manifest("distilled", inputs={"tokens": {"tr-queries": ""}}, facts=run))
    (tmp_path / "training.jsonl").write_text(json.dumps({"step": 1, "loss": 0.5}) + "\n")
    (row,) = read_retrieval(tmp_path, tmp_path).rows
    assert row == SideRow("tr", "queries", 5, 2, "exact duplicate 1,200, unanswered 4")


def test_the_corpus_is_drawn_by_language_and_split(drawn):
    rows = [
        CorpusRow(lang, "files", {"train": n, "validation": n + 1, "test": n + 2}, {}, 0, 0, "")
        for lang, n in (("de", 10), ("tr", 20))
    ]
    assert corpus_plot(rows) == "<stacked_bars>"
    series = {"train": [10, 20], "validation": [11, 21], "test": [12, 22]}
    assert drawn == [("stacked_bars", (["de", "tr"], series, "passages"))]


# -- vocabulary -------------------------------------------------------------------------------------------------------


def test_the_composition_counts_each_origin(drawn):
    composition_plot("small", ["special", "corpus", "corpus", "target-language", "corpus"])
    assert drawn == [("stacked_bars", (["small"], {"corpus": [3], "special": [1], "target-language": [1]}, "tokens"))]


def test_grafts_come_by_count_then_id_and_only_grafts():
    rows = [
        ("lerden", 4, None, 30, "target-language", "saves 60 tokens"),
        ("the", 0, 7, 900, "corpus", "rank 1"),
        ("evler", 3, None, 50, "target-language", "saves 100 tokens"),
        ("dan", 5, None, 50, "target-language", "saves 50 tokens"),
        ("evl", 6, None, 99, "closure", "closure of evler"),
    ]
    table = pa.table([pa.array(column) for column in zip(*rows, strict=True)], VOCABULARY.names[:6])
    assert graft_rows(table) == [
        {"token": "evler", "count": 50, "reason": "saves 100 tokens"},
        {"token": "dan", "count": 50, "reason": "saves 50 tokens"},
        {"token": "lerden", "count": 30, "reason": "saves 60 tokens"},
    ]
    many = pa.table(
        {
            "token": [f"t{i}" for i in range(40)],
            "new_id": range(40),
            "count": range(40),
            "origin": ["target-language"] * 40,
            "reason": [""] * 40,
        }
    )
    assert [row["count"] for row in graft_rows(many)] == list(range(39, 14, -1)), "25 are shown"


CURVE = {
    "graft_share": 0.25,
    "marginal_curve": [
        {"share": 0.0, "grafts": 0, "objective": 1.0, "fertility": {"de": 2.0, "tr": 4.0}},
        {"share": 0.25, "grafts": 1_200, "objective": 0.8, "fertility": {"de": 1.5, "tr": 3.0}},
        {"share": 0.5, "grafts": 2_400, "objective": 0.875, "fertility": {"de": 1.25, "tr": 2.5}},
    ],
}


def test_each_share_says_what_it_costs_and_whether_it_was_taken():
    rows = share_rows(CURVE, fixed=0.5)
    assert [row["share"] for row in rows] == ["0.0 %", "25.0 %", "50.0 %"]
    assert [row["grafts"] for row in rows] == ["0", "1,200", "2,400"]
    assert [row["objective"] for row in rows] == ["100.0 %", "80.0 %", "87.5 %"]
    assert rows[1]["fertility"] == "de 1.50, tr 3.00"
    assert [row["chosen"] for row in rows] == [False, True, False]
    assert [row["fixed"] for row in rows] == [False, False, True]


def test_the_share_is_drawn_against_percent_of_the_teachers_tokens(drawn):
    share_plot(CURVE)
    ((_, (series, x_label, y_label)),) = drawn
    assert series == {"all languages": ([0.0, 0.25, 0.5], [100.0, 80.0, 87.5])}
    assert (x_label, y_label) == ("share of the budget for new tokens", "tokens, % of the teacher's")
    assert share_plot({"marginal_curve": []}) == ""


# -- certificate ------------------------------------------------------------------------------------------------------


def language(passages: int, retained: int, words: tuple, characters: tuple, identical: float, untouched: Any) -> dict:
    return {
        "passages": passages,
        "retained": retained,
        "tokens_per_word": dict(zip(("teacher", "pruned", "new"), words, strict=True)),
        "characters_per_token": dict(zip(("teacher", "pruned", "new"), characters, strict=True)),
        "identical_share": identical,
        "untouched_share": untouched,
    }


CERTIFICATE = {
    "family": "BPE",
    "unreachable": 5,
    "languages": {
        "de": language(200, 150, (2.0, 4.0, 3.0), (5.0, 4.5, 3.5), 1.0, 0.25),
        "tr": language(1_200, 1_100, (3.0, None, 1.5), (2.25, 2.0, 4.0), 0.75, None),
    },
    "all": {
        "retained": 1_250,
        "retained_identical": 1_249,
        "round_trips": 1_300,
        "round_trip_failures": 2,
        "teacher_unknown": 17,
        "unknown": 11,
    },
    "agreement": {"transformers": {"passages": 100, "agree": 99}},
}


def test_each_column_of_tokens_has_its_own_figure():
    rows = token_rows(CERTIFICATE, {"de": 0.875})
    assert len(TOKEN_COLUMNS) == len(rows[0]["cells"])
    assert rows == [
        {"lang": "de", "cells": ["87.5 %", "2.00", "4.00", "3.00", "5.00", "3.50", "150 of 200", "100.0 %", "25.0 %"]},
        {"lang": "tr", "cells": ["", "3.00", "", "1.50", "2.25", "4.00", "1,100 of 1,200", "75.0 %", ""]},
    ]


def test_tokens_a_word_are_drawn_for_each_tokenizer(drawn):
    fertility_plot(CERTIFICATE)
    series = {"teacher": [2.0, 3.0], "pruned only": [4.0, None], "student": [3.0, 1.5]}
    assert drawn == [("dots", (["de", "tr"], series, "tokens per word"))]


def test_without_validation_text_no_tokens_a_word_are_drawn(drawn):
    nothing = dict.fromkeys(("teacher", "pruned", "new"))
    assert fertility_plot({"languages": {"de": {"tokens_per_word": nothing}}}) == ""
    assert not drawn


def test_the_certificates_counts_keep_their_order():
    assert [row["value"] for row in check_rows(CERTIFICATE)] == [
        "BPE",
        "1,249 of 1,250",
        "5",
        "2 of 1,300",
        "17 and 11",
        "99 of 100",
    ]


# -- scores -----------------------------------------------------------------------------------------------------------


def test_the_first_row_of_a_task_is_its_main_figure_and_fertility_has_its_own_section():
    assert [(row.task, row.group) for row in main_rows(COMPARISONS)] == [
        ("agreement", "all"),
        ("words", "de"),
        ("speed", None),
        ("sts", None),
        ("shape", None),
    ]
    (table,) = score_tables(COMPARISONS)
    assert {row.task for row in table} == {"agreement", "speed", "sts", "shape"}


def test_a_task_with_many_languages_has_its_main_figure_in_the_first_table_and_a_table_of_its_own():
    many = [compared("agreement", "cosine", group, 1.0, 0.5, 0.75) for group in ("all", *(f"l{i}" for i in range(40)))]
    first, agreement = score_tables([*many, *COMPARISONS[3:]])
    assert [(row.task, row.group) for row in first] == [
        ("agreement", "all"),
        ("speed", None),
        ("sts", None),
        ("shape", None),
    ]
    assert [row.group for row in agreement] == [f"l{i}" for i in range(40)]


def test_scores_are_drawn_by_model_and_neither_speed_nor_what_is_better_low(drawn):
    score_plots(COMPARISONS)
    cosines = {"teacher": [1.0, 0.9, 0.8], "cut only": [0.25, 0.3, 0.2], "trained": [0.75, 0.6, 0.7]}
    others = {"teacher": [80.0], "cut only": [20.0], "trained": [60.0]}
    assert drawn == [
        ("dots", (["all", "de", "tr"], cosines, "cosine")),
        ("dots", (["sts"], others, "score")),
    ]
    assert score_plots([]) == []


# -- training ---------------------------------------------------------------------------------------------------------


def validation(step: int, loss: float, de: float, tr: float, **further: float) -> dict[str, Any]:
    languages = {"tr": {"cosine": tr}, "de": {"cosine": de}}
    return {"step": step, "validation": {"loss": loss, "languages": languages, **further}}


FACTS = {"steps": 1_500, "planned_steps": 2_000, "kept_step": 1_000}


def test_curves_have_the_steps_and_values_of_the_records(drawn):
    records = [
        validation(0, 0.5, 0.6, 0.4),
        {"step": 1, "loss": 0.7},
        {"step": 2, "loss": 0.3},
        validation(2, 0.2, 0.7, 0.9),
    ]
    captions = [plot.caption for plot in training_plots(records, FACTS)]
    assert [arguments for _, arguments in drawn] == [
        ({"train": ([1, 2], [0.7, 0.3]), "validation": ([0, 2], [0.5, 0.2])}, "step", "loss"),
        ({"de": ([0, 2], [0.6, 0.7]), "tr": ([0, 2], [0.4, 0.9])}, "step", "cosine"),
    ]
    assert captions[0] == "Loss. 1,500 of 2,000 steps; the weights of step 1,000 were kept."


def test_of_many_languages_the_lowest_the_median_and_the_highest_are_drawn(drawn):
    languages = {f"l{i}": {"cosine": i / 10} for i in range(9)}
    training_plots([{"step": step, "validation": {"loss": 0.5, "languages": languages}} for step in (0, 2)], FACTS)
    (series, *_) = drawn[-1][1]
    assert series == {
        "lowest of 9 languages": ([0, 2], [0.0, 0.0]),
        "median of 9 languages": ([0, 2], [0.4, 0.4]),
        "highest of 9 languages": ([0, 2], [0.8, 0.8]),
    }


def test_the_sts_dev_set_is_drawn_where_it_was_measured(drawn):
    training_plots(
        [validation(0, 0.5, 0.6, 0.4, sts=70.0), {"step": 1, "loss": 0.7}, validation(1, 0.2, 0.7, 0.9, sts=75.0)],
        FACTS,
    )
    assert drawn[-1] == ("curves", ({"validation": ([0, 1], [70.0, 75.0])}, "step", "Spearman"))


def test_the_caption_tells_of_an_interpolated_student(drawn):
    (loss,) = training_plots([{"step": 1, "loss": 0.7}], FACTS | {"interpolation": 0.5})
    assert loss.caption.endswith("were kept, and the student is 50.0 % of the way from the model before to them.")


def test_the_caption_tells_which_shares_an_interpolation_was_chosen_from(drawn):
    (loss,) = training_plots([{"step": 1, "loss": 0.7}], FACTS | {"interpolation": 1.0, "interpolations": [0.5, 1.0]})
    assert loss.caption.endswith(
        "the student is 100.0 % of the way from the model before to them, the best of 50.0 %, 100.0 % on the validation split."
    )


def test_without_validations_the_loss_alone_is_drawn(drawn):
    training_plots([{"step": 1, "loss": 0.7}], FACTS)
    assert [arguments[0] for _, arguments in drawn] == [{"train": ([1], [0.7]), "validation": ([], [])}]


# -- variants ---------------------------------------------------------------------------------------------------------


def test_variants_stand_side_by_side_by_cost_and_what_they_retain(drawn):
    larger = [
        compared("agreement", "cosine", "all", 1.0, 0.5, 0.9),
        compared("words", "tokens per word", "tr", 3.0, 6.0, 1.25),
        compared("speed", "passages per second", None, 100.0, 100.0, 120.0),
        compared("sts", "spearman", None, 80.0, 40.0, 72.0),
        compared("shape", "uniformity", None, -2.0, -1.0, -2.5),
    ]
    table = sweep(
        [Variant("small", 250, 500_000, COMPARISONS), Variant("large", 1_000, 1_500_000, larger)], ["tr", "de"], 10
    )
    assert table.verdict.startswith(
        "large is the smallest variant (1.5 M) that loses no more than 10 % of the teacher on any"
    )
    assert table.columns == ["tokens", "parameters", "tokens per word, tr", "agreement", "sts", "speed"]
    assert table.rows == [
        {"name": "small", "cells": ["250", "0.5 M", "1.50", "0.750", "60.00", "200.00"], "on_front": True},
        {"name": "large", "cells": ["1,000", "1.5 M", "1.25", "0.900", "72.00", "120.00"], "on_front": True},
    ]
    retained = {"agreement": [75.0, 90.0], "sts": [75.0, 90.0]}
    names = ["small", "large"]
    assert drawn == [
        ("trade_off", (retained, [0.5, 1.5], names, "parameters, millions")),
        ("trade_off", (retained, [200.0, 120.0], names, "passages per second")),
    ]
    assert table.plots[1].caption.endswith("against the student's passages per second.")


def test_a_sweep_without_tasks_to_retain_draws_nothing(drawn):
    only = [compared("shape", "uniformity", None, -2.0, -1.0, -3.0)]
    table = sweep([Variant("a", 1, 1, only), Variant("b", 1, 1, only)], ["tr"], 3)
    assert (table.plots, table.verdict, drawn) == ([], "", [])
    assert not any(row["on_front"] for row in table.rows)


@pytest.mark.parametrize(
    ("tolerance", "verdict"),
    [
        (25, "small is the smallest variant (0.5 M)"),
        (9, "Every variant loses more than 9 % of the teacher on any task"),
    ],
)
def test_the_smallest_variant_that_keeps_enough_is_named(tolerance, verdict, drawn):
    better = [compared("sts", "spearman", None, 80.0, 40.0, 72.0)]
    worse = [compared("sts", "spearman", None, 80.0, 40.0, 60.0)]
    variants = [Variant("large", 9, 1_500_000, better), Variant("wasteful", 9, 2_000_000, worse)]
    table = sweep([*variants, Variant("small", 9, 500_000, worse)], [], tolerance)
    assert table.verdict.startswith(verdict)
    assert {row["name"]: row["on_front"] for row in table.rows} == {"large": True, "wasteful": False, "small": True}
