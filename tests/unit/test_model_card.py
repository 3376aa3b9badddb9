"""The card says of the model what its files and its evaluation say."""

from __future__ import annotations

import re

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from langtailor.evaluation.comparison import Comparison, Difference
from langtailor.evaluation.scores import Score
from langtailor.models.folder import ModelInfo
from langtailor.sources.collection import pair_group
from langtailor.storage.artifacts import Manifest, read_manifest, seal_directory
from langtailor.student.card import CardFacts, assemble_student
from tests.models import make_tiny_bert_teacher, make_tiny_gemma_teacher
from tests.reading import front_matter, markdown_tables


def score(value, low=None, high=None):
    return Score("x", value, low, high, 100)


def compared(task, metric, group, values, to_teacher=None, less_is_better=False):
    scores = dict(zip(("teacher", "cut", "trained"), values, strict=True))
    differences = {"trained": to_teacher} if to_teacher else {}
    return Comparison(task, metric, group, scores, differences, {}, less_is_better)


COMPARISONS = [
    compared(
        "sts",
        "spearman",
        None,
        (score(80.0, 78.5, 81.25), score(20.0, 18.0, 22.0), score(70.0, 68.0, 72.0)),
        Difference(-10.0, -12.0, -8.0),
    ),
    compared("sts", "pearson", None, (score(0.5, -1.0, 2.0), score(0.5), score(0.5))),
    compared("bitext", "accuracy", "forward", (score(50.0), score(5.0), score(51.0)), Difference(1.0, -2.0, 4.0)),
    compared("fertility", "tokens per word", "tr", (score(3.0), score(2.5), score(2.0)), less_is_better=True),
]
STEPS = ["teacher", "cut", "trained"]
SETTINGS = {"vocabulary": {"size": 420, "graft": {"share": 0.25}}, "distillation": {"epochs": 2}}


CORPUS = {"quotas": {"train": 100}, "sources": {"wiki": {"kind": "hub", "dataset": "who/wiki"}}}
OWN = {"kind": "files", "path": "/home/me/text/{lang}.txt"}
SOURCES = {"de": CORPUS["sources"]["wiki"], "tr": OWN}
NO_COMMIT = {"commit": None}


def publish(root, model="who/what", facts=(), inputs=(), comparisons=(), variant=SETTINGS, steps=STEPS, **teacher):
    """Publish a student that has another size than its teacher, and return its card."""
    make_tiny_gemma_teacher(root / "teacher")
    seal_directory(root / "teacher", Manifest("teacher", inputs=dict(inputs), facts=dict(facts)))
    make_tiny_bert_teacher(root / "distilled")
    (root / "distilled" / "training.jsonl").write_text("{}\n")
    seal_directory(root / "distilled", Manifest("distilled", facts={"kept_step": 7}))
    settings = {"model": model, "prompt": None, "language_prompts": {}, "reads": "text", **teacher}
    corpus = {**CORPUS, "sources": {**CORPUS["sources"], "own": OWN}}
    told = CardFacts("a run", "tailored", ["tr"], ["de", "tr"], settings, variant, steps, corpus, SOURCES)
    assemble_student(root / "distilled", root / "teacher", told, comparisons or COMPARISONS, root / "student")
    return (root / "student" / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("card")


@pytest.fixture(scope="module")
def card(root):
    return publish(root, facts={"license": "apache-2.0"}, inputs={"commit": "c0ffee"}, prompt="query: ", reads="pair")


def test_the_front_matter_names_languages_teacher_and_licence(card):
    matter = front_matter(card)
    (index,) = matter.pop("model-index")
    results = {(r["task"]["type"], r["metrics"][0]["type"]): r["metrics"][0]["value"] for r in index["results"]}
    assert {value for (_, metric), value in results.items() if metric == "spearman"} == {70.0}
    assert matter == {
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "language": ["de", "tr"],
        "tags": ["sentence-transformers", "feature-extraction", "sentence-similarity", "langtailor"],
        "base_model": "who/what",
        "base_model_relation": "finetune",
        "datasets": ["who/wiki"],
        "license": "apache-2.0",
    }


def test_a_teacher_of_a_local_folder_is_no_model_of_the_hub(tmp_path):
    matter = front_matter(publish(tmp_path, model=str(tmp_path / "teacher"), inputs={"commit": None}))
    assert not {"base_model", "base_model_relation", "license"} & matter.keys()


def test_sizes_stand_under_the_model_that_has_them(card, root):
    teacher, student = (ModelInfo.read(root / name) for name in ("teacher", "student"))
    sizes = markdown_tables(card)[0]
    assert sizes.head == ["", "teacher", "this model"]
    assert teacher.parameters != student.parameters
    assert sizes.cells() == {
        "parameters": [f"{teacher.parameters:,}", f"{student.parameters:,}"],
        "vocabulary": [f"{teacher.vocabulary_size:,}", f"{student.vocabulary_size:,}"],
        "dimensions": ["32", "32"],
        "longest text, tokens": [str(teacher.max_length), str(student.max_length)],
    }


def test_every_score_stands_under_its_model_and_the_rest_follows_from_them(card):
    main, table = markdown_tables(card)[1:]
    assert main.head == table.head
    assert main.rows == [table.rows[0], *table.rows[2:]], "the first figure of each task"
    assert table.head[3:] == ["teacher", "cut only", "trained", "retained", "difference to the teacher"]
    assert table.rows == [
        [
            "sts",
            "spearman",
            "",
            "80.00 (78.50 to 81.25)",
            "20.00 (18.00 to 22.00)",
            "70.00 (68.00 to 72.00)",
            "87.5 %",
            "-10.00",
        ],
        ["sts", "pearson", "", "0.50 (-1.00 to 2.00)", "0.50", "0.50", "", ""],
        ["bitext", "accuracy", "forward", "50.00", "5.00", "51.00", "102.0 %", "+1.00 (noise)"],
        ["fertility", "tokens per word", "tr", "3.00", "2.50", "2.00", "", ""],
    ]


def test_the_card_tells_teacher_commit_prompt_and_settings(card):
    assert "made from `who/what` at commit `c0ffee`" in card
    assert 'each text was prefixed with `"query: "`' in card
    assert "reads the aligned text of a passage" in card
    teacher = {"model": "who/what", "prompt": "query: ", "language_prompts": {}, "reads": "pair"}
    told = yaml.safe_load(card.split("```yaml\n")[1].split("```")[0])
    assert told == {"teacher": teacher, "corpus": told["corpus"], **SETTINGS}
    assert told["corpus"]["quotas"] == {"train": 100}
    assert "Text of 2 languages: `who/wiki`; files of the author's." in card


def test_the_published_folder_is_the_trained_one_with_a_card(card, root):
    names = {path.relative_to(root / "student").as_posix() for path in (root / "student").rglob("*") if path.is_file()}
    trained = {p.relative_to(root / "distilled").as_posix() for p in (root / "distilled").rglob("*") if p.is_file()}
    assert names == trained | {"README.md"}
    assert read_manifest(root / "student", "student").facts == {"kept_step": 7}


MARKUP = "<script>x</script> | **so** `on` ``` [a](b) &amp;"


def test_markup_in_what_others_wrote_stays_text(tmp_path):
    rows = [compared("task", MARKUP, MARKUP, (score(3.0), score(2.5), score(2.0)))]
    variant = {"vocabulary": {"graft": {"tokens": MARKUP}}}
    card = publish(
        tmp_path,
        model=f"./{MARKUP.replace('/', '')}",
        comparisons=rows,
        variant=variant,
        inputs=NO_COMMIT,
        prompt=MARKUP,
    )
    _, matter, body = card.split("---\n", 2)
    assert yaml.safe_load(matter)["model-index"][0]["results"][0]["dataset"]["config"] == MARKUP
    outside = re.sub(r"^(`{3,})\w*\n.*?^\1$|(`+)[^`\n].*?(?<!`)\2(?!`)", "", body, flags=re.DOTALL | re.MULTILINE)
    unescaped = re.sub(r"\\[^\w\s]", "", outside)
    for mark in ("<script", "**so**", "`on`", "[a]", "&amp; "):
        assert mark not in unescaped, "outside code nothing is markup"
    (row,) = [line for line in body.splitlines() if line.startswith("| task |")][:1]
    assert len(re.findall(r"(?<!\\)\|", row)) == 9, "a bar in a name does not make a column"
    assert unescaped.count("<details>") == unescaped.count("</details>")
    fence = re.search(r"^(`{4,})yaml$", body, re.MULTILINE).group(1)
    assert body.count(f"\n{fence}\n") == 2, "three backticks in a value do not end a block"


def test_no_path_of_a_machine_is_told(tmp_path):
    variant = {"vocabulary": {"graft": {"donor": "/home/me/donor", "tokens": "~/words.txt", "kept": ["/home/me/a"]}}}
    card = publish(tmp_path, model=str(tmp_path / "teacher"), variant=variant, inputs=NO_COMMIT, prompt="/ask ")
    assert "/home/" not in card
    assert "~/" not in card
    assert str(tmp_path) not in card
    told = yaml.safe_load(card.split("```yaml\n")[1].split("```")[0])
    assert told["corpus"]["sources"]["own"]["path"] == "{lang}.txt"
    assert told["vocabulary"] == {"graft": {"donor": "donor", "tokens": "words.txt", "kept": ["a"]}}
    assert told["teacher"] == {"model": "teacher", "prompt": "/ask ", "language_prompts": {}, "reads": "text"}


def test_the_hubs_own_reader_finds_everything(card):
    data = ModelCard(card).data
    assert (data.base_model, data.datasets, data.license) == ("who/what", ["who/wiki"], "apache-2.0")
    assert data.to_dict()["base_model_relation"] == "finetune"
    name, results = model_index_to_eval_results(data.to_dict()["model-index"])
    assert name == "a run-tailored"
    assert {(result.dataset_type, result.metric_name, result.metric_value) for result in results} == {
        ("sts", "spearman", 70.0),
        ("sts", "pearson", 0.5),
        ("bitext", "accuracy", 51.0),
        ("fertility", "tokens per word", 2.0),
    }


def test_the_card_says_for_what_it_is_not(card):
    limits = card[card.index("## Limits") : card.index("## How it was made")]
    assert "It is for de, tr." in limits
    assert "truncated at" in limits


def test_how_it_was_made_is_told_in_five_lines(card):
    made = card[card.index("## How it was made") : card.index("<details><summary>The whole")]
    assert [line[:2] for line in made.splitlines() if line and not line.startswith("#")] == [
        "1.",
        "2.",
        "3.",
        "4.",
        "5.",
    ]


def test_pairs_of_languages_stand_in_the_report_alone(tmp_path):
    pairs = [compared("xquad", "ndcg@10", pair_group("tr", "de"), (score(90.0), score(50.0), score(33.5)))]
    text = publish(tmp_path, inputs=NO_COMMIT, comparisons=[*COMPARISONS, *pairs])
    assert "33.5" not in text


@pytest.mark.parametrize(
    ("student", "said"),
    [
        ({"layers": 6, "dimensions": None}, "It has 6 of the teacher's layers."),
        ({"layers": [0, 3], "dimensions": 8}, "It has 2 of the teacher's layers."),
        (
            {"layers": None, "dimensions": 8},
            "Its vectors have 32 dimensions, a projection of the teacher's 32.",
        ),
    ],
)
def test_the_card_says_what_the_model_has_less_of(tmp_path, student, said):
    steps = ["teacher", "cut", "reduced", "trained"]
    scores = {step: score(50.0) for step in steps}
    row = Comparison("sts", "spearman", None, scores, {}, {})
    variant = {**SETTINGS, "student": student}
    text = publish(tmp_path, inputs=NO_COMMIT, comparisons=[row], variant=variant, steps=steps)
    assert said in " ".join(text.split())
