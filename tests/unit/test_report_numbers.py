"""Every figure of the report's page is the one of the file that it comes from, under the right heading."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from langtailor.config.report import ReportSettings
from langtailor.evaluation.comparison import Comparison, Difference
from langtailor.evaluation.scores import Score
from langtailor.report import plots
from langtailor.report.page import gather_page, write_report
from langtailor.report.stages import ORDER, read_stages
from langtailor.report.steps import step_table
from langtailor.storage import tables
from langtailor.storage.artifacts import Manifest, seal_directory, write_json
from langtailor.surgery.base import Graft, Layout
from langtailor.vocabulary.table import layout_to_table
from tests.models import make_tiny_bert_teacher
from tests.reading import Page, bars, dots, lines, texts

RULES = Path(__file__).parents[2] / "workflow" / "rules"
QUOTAS = {"train": 1000, "validation": 20, "test": 10}
#: Rows of the student's table, where the teacher has as many as its tokenizer.
ROWS = 40


def weights(folder):
    return folder / "model.safetensors"


def parameters(folder):
    with safe_open(weights(folder), "pt") as file:
        return sum(file.get_tensor(name).numel() for name in file.keys() if "position_ids" not in name)  # noqa: SIM118


def make_student(folder, facts):
    """The tiny teacher with a smaller table, and what training wrote beside it."""
    make_tiny_bert_teacher(folder)
    tensors = load_file(weights(folder))
    name = next(name for name in tensors if name.endswith("word_embeddings.weight"))
    tensors[name] = tensors[name][:ROWS].clone()
    save_file(tensors, weights(folder), {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": ROWS}))
    look = {"loss": 0.5, "cosine": 0.5, "languages": {"de": {"cosine": 0.6}, "tr": {"cosine": 0.4}}}
    later = {"loss": 0.2, "cosine": 0.8, "languages": {"de": {"cosine": 0.7}, "tr": {"cosine": 0.9}}}
    records = [{"step": 0, "validation": look}, {"step": 1, "loss": 0.6}, {"step": 2, "loss": 0.3}]
    records.append({"step": 2, "validation": later})
    (folder / "training.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    seal_directory(folder, Manifest("distilled", facts=facts))


def make_vocabulary(path):
    grafts = (Graft("lerden", 30), Graft("evler", 50))
    tokens = ("[PAD]", "a", "b", "evler", "lerden", "unused 0")
    layout = Layout(tokens, np.array([0, 3, 5, -1, -1, -1], np.int32), {g.token: g for g in grafts}, {"unused 0"})
    origins = ["special", "alphabet", "corpus", "target-language", "target-language", "padding"]
    reasons = ["special", "letter", "weighted frequency rank 1", "saves 100 tokens", "saves 60 tokens", "fills"]
    points = [(0.0, 0, 1.0, 2.0), (0.25, 2, 0.8, 1.5), (0.5, 4, 0.9, 1.25)]
    curve = [
        {"share": share, "grafts": n, "objective": spent, "fertility": {"de": fertility, "tr": 2 * fertility}}
        for share, n, spent, fertility in points
    ]
    facts = {"coverage": {"de": 0.875, "tr": 0.5}, "graft_share": 0.25, "share_trials": [], "marginal_curve": curve}
    table = layout_to_table(layout, [0, 7, 9, 50, 30, 0], origins, reasons)
    tables.write_table(path, table, Manifest("vocabulary", facts=facts))


CERTIFIED = {
    "de": {
        "passages": 200,
        "retained": 150,
        "tokens_per_word": {"teacher": 2.0, "pruned": 4.0, "new": 3.0},
        "characters_per_token": {"teacher": 5.0, "pruned": 4.5, "new": 3.5},
        "identical_share": 1.0,
        "untouched_share": 0.25,
    },
    "tr": {
        "passages": 1200,
        "retained": 1100,
        "tokens_per_word": {"teacher": 3.0, "pruned": 6.0, "new": 1.5},
        "characters_per_token": {"teacher": 2.25, "pruned": 2.0, "new": 4.0},
        "identical_share": 0.75,
        "untouched_share": None,
    },
}
WHOLE = {
    "retained_identical": 1249,
    "retained": 1250,
    "round_trip_failures": 2,
    "round_trips": 1300,
    "teacher_unknown": 17,
    "unknown": 11,
}


def make_corpus(path, lang, train):
    rows = {name: pa.array([], tables.CORPUS.field(name).type) for name in tables.CORPUS.names}
    facts = {
        "passages": {"train": train, "validation": 20, "test": 10},
        "characters": {"train": 5000, "validation": 300, "test": 45},
        "documents": {"read": 1234, "cut": 0},
        "dropped": {"near_duplicate": 1001, "short": 3},
    }
    inputs = {"documents": {"source": {"kind": "local"}}, "tokenizer": "x"}
    manifest = Manifest("corpus", {"lang": lang, "quotas": QUOTAS}, inputs, facts)
    tables.write_table(path, pa.table(rows, schema=tables.CORPUS), manifest)


def write_benchmark(path, *jobs):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("s\tmax_rss\n" + "".join(f"{seconds}\t{memory}\n" for seconds, memory in jobs))


def scores(teacher, cut, trained, n=4000):
    def score(value):
        return Score("x", value, value - 0.125, value + 0.25, n)

    return {"teacher": score(teacher), "cut": score(cut), "trained": score(trained)}


def plain(teacher, cut, trained):
    values = {"teacher": teacher, "cut": cut, "trained": trained}
    return {model: Score("x", value, None, None, 7) for model, value in values.items()}


COMPARISONS = [
    Comparison("agreement", "cosine", "all", scores(1.0, 0.25, 0.75), {}, {"trained": Difference(0.5, 0.4, 0.6)}),
    Comparison("agreement", "cosine", "de", scores(0.9, 0.3, 0.6), {}, {}),
    Comparison("fertility", "tokens per word", "de", plain(2.0, 4.0, 3.0), {}, {}, less_is_better=True),
    Comparison("fertility", "tokens per word", "tr", plain(3.0, 6.0, 1.5), {}, {}, less_is_better=True),
    Comparison(
        "bitext",
        "accuracy",
        "both directions",
        scores(80.0, 20.0, 60.0),
        {"trained": Difference(-20.0, -25.0, -15.0)},
        {"trained": Difference(40.0, -1.0, 81.0)},
    ),
    Comparison(
        "shape",
        "uniformity",
        None,
        plain(-2.0, -1.0, -3.0),
        {"trained": Difference(-1.0, -1.5, -0.5)},
        {"trained": Difference(1.5, 1.25, 1.75)},
        less_is_better=True,
    ),
]


def make_run(root, variants=("tailored",)):
    teacher = root / "teacher" / "model"
    make_tiny_bert_teacher(teacher)
    seal_directory(teacher, Manifest("teacher", {"model": "who/what"}, {"commit": "c0ffee"}))
    make_corpus(root / "corpus" / "de.parquet", "de", 1000)
    make_corpus(root / "corpus" / "tr.parquet", "tr", 400)
    for name in variants:
        make_vocabulary(root / "vocabulary" / f"{name}.parquet")
        content = {"family": "WordPiece", "languages": CERTIFIED, "all": WHOLE, "unreachable": 5}
        content["agreement"] = {"transformers": {"agree": 99, "passages": 100}}
        write_json(root / "tokenizer" / name / "certificate.json", "certificate", content)
        shutil.copy(teacher / "tokenizer.json", root / "tokenizer" / name)
        make_student(root / "distillation" / name / "model", {"steps": 2, "planned_steps": 1500, "kept_step": 1})
        seal_directory(make_tiny_bert_teacher(root / "clone" / name), Manifest("clone", facts={"row_trials": []}))
    write_benchmark(root / "benchmarks" / "fetch_teacher.tsv", (4.25, "-"))
    write_benchmark(root / "benchmarks" / "evaluate" / "a.tsv", (10.0, 900.0), (70.5, 2500.4))
    write_benchmark(root / "benchmarks" / "evaluate" / "b.tsv", (45.0, 30.0))
    write_benchmark(root / "benchmarks" / "export_student" / "tailored" / "onnx.tsv", (30.0, 100.0))
    return root


def page_of(root, comparisons, out, shares=0.5):
    settings = {"vocabulary": {"graft": {"share": shares}}, "export": {"formats": []}}
    variants = dict.fromkeys(comparisons, settings)
    models = {
        name: {"teacher": "teacher", "cut": f"{name}/clone", "trained": f"{name}/student"} for name in comparisons
    }
    page = gather_page(root, "a run", ReportSettings(), ["de", "tr"], ["tr"], variants, models, comparisons, None)
    write_report(page, out)
    return Page(out.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def page(root, tmp_path_factory):
    return page_of(root, {"tailored": COMPARISONS}, tmp_path_factory.mktemp("page") / "report.html")


# -- tables -----------------------------------------------------------------------------------------------------------


def test_the_first_table_tells_what_each_step_costs_and_brings(page, root):
    table = page.table("From the teacher")
    folders = [root / name for name in ("teacher/model", "clone/tailored", "distillation/tailored/model")]
    rows = json.loads((folders[0] / "config.json").read_text())["vocab_size"]
    counts = [parameters(folder) for folder in folders]
    assert counts[0] - counts[2] == (rows - ROWS) * 32
    assert table.head == ["", "teacher", "cut only", "trained"]
    assert table.cells() == {
        "tokens": [str(rows), str(rows), str(ROWS)],
        "parameters": [f"{count / 1e6:.1f} M" for count in counts],
        "of these, token embeddings": [f"{size * 32 / 1e6:.1f} M" for size in (rows, rows, ROWS)],
        "weights": [f"{weights(folder).stat().st_size / 1e6:,.1f} MB" for folder in folders],
        "tokens per word, tr": ["3.00", "1.50", "1.50"],
        "agreement: cosine": ["1.000", "0.250", "0.750"],
        "bitext: accuracy": ["80.00", "20.00", "60.00 / -20 (-25 to -15)"],
        "shape: uniformity": ["-2.00", "-1.000", "-3.00 / -1 (-1.5 to -0.5)"],
    }


def test_an_export_has_a_column_with_its_bytes_and_its_own_scores(root, tmp_path):
    figures = {"bitext": {"metric": "accuracy", "student": 60.0, "export": 58.5, "difference": None}}
    write_json(tmp_path / "certificate.json", "export certificate", {"bytes": 2_500_000, "tasks": figures})
    models = {"teacher": "teacher", "cut": "tailored/clone", "trained": "tailored/student"}
    table = step_table(root, models, COMPARISONS, ["tr"], {"onnx-int8": tmp_path})
    assert table.columns == ["teacher", "cut only", "trained", "onnx-int8"]
    assert {name: cells[-1].value for name, cells in table.rows} == {
        "tokens": str(ROWS),
        "parameters": "",
        "of these, token embeddings": "",
        "weights": "2.5 MB",
        "tokens per word, tr": "1.50",
        "agreement: cosine": "",
        "bitext: accuracy": "58.50",
        "shape: uniformity": "",
    }


def test_scores_stand_under_their_model_with_their_interval(page):
    table = page.table("Scores")
    assert table.head[:5] == ["task", "teacher", "cut only", "trained", "retained"]
    bitext = table.rows[2]
    assert bitext[0] == "bitext: both directions / accuracy, 4,000 items"
    assert bitext[1:5] == ["80.00 / 79.88 to 80.25", "20.00 / 19.88 to 20.25", "60.00 / 59.88 to 60.25", "75.0 %"]
    assert table.rows[3][1:5] == ["-2.00", "-1.000", "-3.00", ""], "less is better: nothing is retained"
    tasks = [row[0].split(" / ")[0] for row in table.rows]
    assert tasks == ["agreement: all", "agreement: de", "bitext: both directions", "shape"], "fertility has its own"


def test_differences_stand_under_the_model_that_they_are_to(page):
    table = page.table("Scores")
    assert table.head[5:] == ["student − teacher", "student − cut only"]
    assert [row[5:] for row in table.rows] == [
        ["", "+0.5 +0.4 to +0.6"],
        ["", ""],
        ["-20 -25 to -15", "+40 noise"],
        ["-1 -1.5 to -0.5", "+1.5 +1.25 to +1.75"],
    ]


def test_a_difference_is_good_where_the_student_is_better_than_the_other(root, tmp_path):
    out = tmp_path / "report.html"
    page_of(root, {"tailored": COMPARISONS}, out)
    marks = dict(re.findall(r">([+-][\d.]+) <small class=\"(good|bad)\">", out.read_text(encoding="utf-8")))
    assert marks == {"+0.5": "good", "-20": "bad", "-1": "good", "+1.5": "bad"}


def test_the_vocabulary_table_takes_each_figure_from_its_own_field(page):
    table = page.table("Vocabulary")
    assert table.head == [
        "language",
        "coverage by kept tokens",
        "tokens per word: teacher",
        "pruned only",
        "student",
        "characters per token: teacher",
        "student",
        "passages whose tokens were all kept",
        "of these segmented identically",
        "untouched by grafts",
    ]
    assert table.rows == [
        ["de", "87.5 %", "2.00", "4.00", "3.00", "5.00", "3.50", "150 of 200", "100.0 %", "25.0 %"],
        ["tr", "50.0 %", "3.00", "6.00", "1.50", "2.25", "4.00", "1,100 of 1,200", "75.0 %", ""],
    ]


def test_new_tokens_come_by_their_uses(page):
    assert page.table("New tokens").rows == [
        ["evler", "50", "saves 100 tokens"],
        ["lerden", "30", "saves 60 tokens"],
    ]


def test_the_share_that_was_taken_and_the_fixed_one_are_marked(page):
    assert page.table("How many new tokens").rows == [
        ["0.0 %", "0", "100.0 %", "de 2.00, tr 4.00", ""],
        ["25.0 %", "2", "80.0 %", "de 1.50, tr 3.00", "taken"],
        ["50.0 %", "4", "90.0 %", "de 1.25, tr 2.50", "fixed share"],
    ]


def test_the_certificates_counts_stand_beside_what_they_count(page):
    assert page.table("Certificate").cells() == {
        "family": ["WordPiece"],
        "passages of kept tokens, segmented identically": ["1,249 of 1,250"],
        "tokens that no text reaches": ["5"],
        "texts that do not round-trip": ["2 of 1,300"],
        "unknown tokens, teacher and student": ["17 and 11"],
        "transformers gives the same ids": ["99 of 100"],
    }


def test_the_corpus_says_what_was_found_and_where_it_is_less_than_wanted(page):
    assert page.table("Corpus").rows == [
        ["de", "local", "1,000", "20", "10", "5,345", "1,234", "near duplicate 1,001, short 3"],
        ["tr target", "local", "400 of 1,000", "20", "10", "5,345", "1,234", "near duplicate 1,001, short 3"],
    ]


def test_a_rules_jobs_are_added_up_and_the_longest_is_told(page):
    assert page.table("How it ran").rows == [
        ["fetch_teacher", "1", "4.2 s", "4.2 s", ""],
        ["evaluate", "3", "2 min 06 s", "1 min 10 s", "2,500 MiB"],
        ["export_student", "1", "30.0 s", "30.0 s", "100 MiB"],
    ]


def test_every_rule_that_snakemake_measures_has_its_place_in_the_order():
    files = sorted(RULES.glob("*.smk"))
    measured = [name for file in files for name in re.findall(r'"<benchmarks>/(\w+)', file.read_text())]
    assert set(ORDER) == set(measured)
    assert len(ORDER) == len(set(ORDER))


def test_rules_come_in_the_order_of_the_data_and_unknown_ones_last(tmp_path):
    for rule in ("write_report", "a_new_rule", "train_for_retrieval", "fetch_base"):
        write_benchmark(tmp_path / f"{rule}.tsv", (1.0, "-"))
    stages = [stage.rule for stage in read_stages(tmp_path)]
    assert stages == ["fetch_base", "train_for_retrieval", "write_report", "a_new_rule"]


# -- plots ------------------------------------------------------------------------------------------------------------


def scaled(values):
    values = np.array(values, float)
    return (values - values.min()) / ((values.max() - values.min()) or 1)


def placed(found, expected):
    """Whether the points of all series stand at their values on one scale, a row a label from the top."""
    assert found.keys() == expected.keys()
    points = np.array([point for name in expected for point in found[name]])
    np.testing.assert_allclose(scaled(points[:, 0]), scaled(np.concatenate(list(expected.values()))), atol=1e-3)
    rows = np.concatenate([np.arange(len(values)) for values in expected.values()])
    np.testing.assert_allclose(scaled(points[:, 1]), 1 - scaled(rows) if rows.max() else rows, atol=1e-3)


def in_proportion(found, expected):
    """Whether all bars have their lengths on one scale."""
    assert found.keys() == expected.keys()
    lengths, values = (np.concatenate([np.array(part[name]) for name in expected]) for part in (found, expected))
    scale = lengths.max() / values.max()
    np.testing.assert_allclose(lengths, values * scale, atol=0.01)


def test_points_of_a_model_have_its_name_its_colour_and_its_values():
    series = {"teacher": [1, 2], "cut only": [5, 6], "trained": [4, 3]}
    svg = plots.dots(["de", "tr"], series, "tokens")
    placed(dots(svg), series)
    assert all(f"fill: {plots.MODEL_COLOURS[name]}" in svg for name in series)
    assert [text for text in texts(svg) if text.isalpha() or " " in text] == ["tokens", "de", "tr", *series]


def test_a_figure_that_is_missing_leaves_its_place_empty():
    found = dots(plots.dots(["de", "tr"], {"teacher": [1, 2], "trained": [None, 3]}, "tokens"))
    assert len(found["trained"]) == 1
    assert found["trained"][0][1] == found["teacher"][1][1], "in the row of tr"


def test_a_model_without_figures_leaves_the_others_drawn():
    svg = plots.dots(["de", "tr"], {"teacher": [1, 2], "trained": [None, None]}, "tokens")
    assert len(dots(svg)["teacher"]) == 2


def test_stacked_parts_have_their_lengths_and_names():
    svg = plots.stacked_bars(["tailored"], {"corpus": [70], "special": [5], "target-language": [25]}, "tokens")
    in_proportion(bars(svg), {"corpus": [70], "special": [5], "target-language": [25]})
    assert texts(svg)[-3:] == ["corpus", "special", "target-language"]
    ends = re.findall(r'<path d="M ([\d.]+) \S+ \nL ([\d.]+) [^"]*" clip-path="[^"]*" style="fill: #', svg)
    assert [start for start, _ in ends[1:]] == [end for _, end in ends[:-1]], "each begins where the last one ends"


def test_a_curve_goes_through_its_points():
    svg = plots.curves({"train": ([1, 2, 4], [9, 3, 4]), "validation": ([1, 4], [8, 5])}, "step", "loss")
    found = lines(svg)
    assert list(found) == ["train", "validation"]
    points = np.array([*found["train"], *found["validation"]])
    np.testing.assert_allclose(scaled(points[:, 0]), scaled([1, 2, 4, 1, 4]), atol=1e-4)
    np.testing.assert_allclose(scaled(points[:, 1]), scaled([9, 3, 4, 8, 5]), atol=1e-4)
    labels = texts(svg)
    assert labels.index("step") < labels.index("loss")


def test_a_trade_off_is_drawn_in_the_order_of_its_axis_with_each_name_at_its_place():
    svg = plots.trade_off({"sts": [90, 70, 80]}, [3.0, 1.0, 2.0], ["large", "small", "middle"], "parameters")
    (points,) = lines(svg).values()
    np.testing.assert_allclose(scaled([x for x, _ in points]), [0, 0.5, 1], atol=1e-4)
    np.testing.assert_allclose(scaled([y for _, y in points]), [0, 0.5, 1], atol=1e-4)
    places = {name: float(x) for x, name in re.findall(r'<text[^>]* x="([\d.]+)"[^>]*>(large|small|middle)<', svg)}
    assert places["small"] < places["middle"] < places["large"]


def test_the_plot_of_tokens_a_word_has_the_certificates_figures(page):
    found = dots(page.plot("Tokens per word"))
    placed(found, {"teacher": [2.0, 3.0], "pruned only": [4.0, 6.0], "student": [3.0, 1.5]})


def test_the_plot_of_the_corpus_has_its_passages(page):
    found = bars(page.plot("Passages per language"))
    in_proportion(found, {"train": [1000, 400], "validation": [20, 20], "test": [10, 10]})


def test_the_plot_of_the_vocabulary_counts_every_origin(page):
    svg = page.plot("Where the student")
    in_proportion(bars(svg), {"alphabet": [1], "corpus": [1], "padding": [1], "special": [1], "target-language": [2]})


def test_the_plots_of_scores_have_each_models_figures(page):
    agreement = dots(page.plot("Mean cosine to the teacher's stored"))
    placed(agreement, {"teacher": [1.0, 0.9], "cut only": [0.25, 0.3], "trained": [0.75, 0.6]})
    others = dots(page.plot("Main figure of each other task"))
    placed(others, {"teacher": [80.0], "cut only": [20.0], "trained": [60.0]})


def test_the_plots_of_training_have_the_losses_and_cosines_that_were_logged(page):
    loss = lines(page.plot("Loss."))
    points = np.array([*loss["train"], *loss["validation"]])
    np.testing.assert_allclose(scaled(points[:, 1]), scaled([0.6, 0.3, 0.5, 0.2]), atol=1e-4)
    cosine = lines(page.plot("Mean cosine to the teacher on the validation"))
    points = np.array([*cosine["de"], *cosine["tr"]])
    np.testing.assert_allclose(scaled(points[:, 1]), scaled([0.6, 0.7, 0.4, 0.9]), atol=1e-4)
    assert any("2 of 1,500 steps; the weights of step 1 were kept" in caption for _, caption in page.figures)


def test_the_curve_of_shares_has_the_tokens_spent(page):
    (points,) = lines(page.plot("Tokens of the validation text")).values()
    np.testing.assert_allclose(scaled([x for x, _ in points]), [0, 0.5, 1], atol=1e-4)
    np.testing.assert_allclose(scaled([y for _, y in points]), [1, 0, 0.5], atol=1e-4)


# -- several variants -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("two"), ("small", "large"))


def test_variants_stand_side_by_side_with_their_own_figures(two, tmp_path):
    better = [
        Comparison("agreement", "cosine", "all", scores(1.0, 0.25, 0.875), {}, {}),
        *COMPARISONS[1:3],
        Comparison("fertility", "tokens per word", "tr", plain(3.0, 6.0, 1.25), {}, {}, less_is_better=True),
        Comparison("bitext", "accuracy", "both directions", scores(80.0, 20.0, 70.0), {}, {}),
        COMPARISONS[5],
    ]
    page = page_of(two, {"small": COMPARISONS, "large": better}, tmp_path / "report.html")
    table = page.table("The variants")
    millions = f"{parameters(two / 'distillation' / 'small' / 'model') / 1e6:.1f} M"
    assert table.head == ["variant", "tokens", "parameters", "tokens per word, tr", "agreement", "bitext"]
    assert table.rows == [
        ["small", "40", millions, "1.50", "0.750", "60.00"],
        ["large ◆", "40", millions, "1.25", "0.875", "70.00"],
    ]


def test_the_plot_of_variants_has_what_each_keeps_of_the_teacher_at_its_size(two, tmp_path):
    fertile = COMPARISONS[2:4]

    def compared(agreement, bitext, speed):
        return [
            Comparison("agreement", "cosine", "all", scores(1.0, 0.25, agreement), {}, {}),
            *fertile,
            Comparison("bitext", "accuracy", "both directions", scores(80.0, 20.0, bitext), {}, {}),
            Comparison("pace", "passages per second", None, plain(10.0, 20.0, speed), {}, {}),
        ]

    page = page_of(two, {"small": compared(0.75, 60.0, 30.0), "large": compared(0.5, 80.0, 15.0)}, tmp_path / "r.html")
    found = lines(page.plot("Main figure of each task, student over teacher, against the student's passages"))
    # In the order of the axis, large comes first: 50 and 100 %, then 75 and 75 %.
    points = np.array([*found["agreement"], *found["bitext"]])
    np.testing.assert_allclose(scaled(points[:, 1]), scaled([50, 75, 100, 75]), atol=1e-4)
    assert page.table("The variants").head[-1] == "pace"
    assert [row[-1] for row in page.table("The variants").rows] == ["30.00", "15.00"]
