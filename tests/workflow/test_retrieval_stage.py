"""Training for retrieval, after distillation, through the workflow: what it makes, and what a change makes again."""

import json
import shutil

import pytest
from sentence_transformers import SentenceTransformer

from langtailor.storage.artifacts import read_json
from tests.workflow.conftest import REMOVED, Workflow, changed
from tests.workflow.planner import dry_run

pytestmark = pytest.mark.timeout(900)

RETRIEVAL = {"epochs": 2, "batch_size": 16, "learning_rate": 1e-3, "validate_every": 4}
ASKED = {"queries": {"made": 60, "validation": 0.2, "candidates": 6}, "retrieval": RETRIEVAL}
STS = {"kind": "sts", "path": "sts.csv", "columns": ["a", "b", "score"]}
BEFORE = {
    "teacher.reads": "text",
    "vocabulary": {"size": 320, "min_count": 0, "graft": {"share": 0}},
    "distillation.epochs": 1,
    "evaluation.tasks": {"agreement": {"kind": "agreement"}, "sts": STS},
}
AFTER = {"evaluate": 1, "assemble_student": 1, "write_report": 1}
#: The training for retrieval and what follows.
TRAINING = AFTER | {"train_for_retrieval": 1}
SCORES = AFTER | {"evaluate": 3, "evaluate_teacher": 1}
CANDIDATES = TRAINING | {"mine_candidates": 2}
QUERIES = CANDIDATES | {"write_queries": 2, "query_vectors": 2, "tokenize_queries": 1}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Workflow:
    """The small run with a teacher that reads Turkish itself: cut, distilled, and then trained for retrieval."""
    workflow = Workflow(tmp_path_factory.mktemp("retrieval"))
    (workflow.folder / "sts.csv").write_text("a,b,score\nBir ev.,İki ev.,3\nBir ev.,Bir ev.,5\nBir kuş.,İki ev.,1\n")
    workflow.config = changed(workflow.config, BEFORE)
    assert workflow.snakemake("results/small/distillation/tailored/model").returncode == 0
    config = changed(workflow.config, ASKED)
    model = "results/small/retrieval/students/tailored/model"
    assert workflow.planned(config, model) == {rule: QUERIES[rule] for rule in QUERIES.keys() - AFTER.keys()}
    workflow.config = config
    done = workflow.snakemake("all")
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    assert workflow.planned() == {}
    return workflow


def test_the_student_goes_on_from_the_distilled_model(trained):
    facts = trained.json("retrieval/students/tailored/model/manifest.json")["facts"]
    assert facts["after"]["loss"] < facts["before"]["loss"]
    assert set(facts["after"]["languages"]) == {"en-documents", "en-queries", "tr-documents", "tr-queries"}
    distilled = trained.results / "distillation" / "tailored" / "model" / "model.safetensors"
    student = trained.results / "student" / "tailored"
    assert (student / "model.safetensors").read_bytes() != distilled.read_bytes()
    assert SentenceTransformer(str(student), device="cpu", local_files_only=True).encode(["kapı"]).shape == (1, 32)
    assert "then trained for retrieval on queries and documents" in (student / "README.md").read_text(encoding="utf-8")


def test_the_report_has_a_row_before_and_after(trained):
    scores = {
        model: read_json(trained.results / "evaluation" / "tailored" / model / "agreement.json", "evaluation")
        for model in ("distilled", "student")
    }
    assert scores["distilled"] != scores["student"]
    page = (trained.results / "report.html").read_text(encoding="utf-8")
    for words in ("trained for retrieval", "<h3>Training for retrieval</h3>", "Queries and documents"):
        assert words in page


@pytest.mark.parametrize(
    ("values", "jobs"),
    [
        ({"retrieval.objective": {"listwise": 0.5}}, TRAINING),
        ({"queries.candidates": 4}, CANDIDATES),
        ({"queries.made": 50}, QUERIES),
        ({"retrieval.max_length": 32}, TRAINING | {"tokenize_queries": 1}),
        ({"evaluation.tasks.shape": {"kind": "geometry"}}, SCORES),
        ({"evaluation.tasks.more": {"kind": "sts", "dataset": "owner/pairs"}}, QUERIES | SCORES),
        ({"evaluation.tasks.sts.truncate_dim": 8}, SCORES),
        ({"evaluation.tasks.sts": REMOVED, "evaluation.tasks.similarity": STS}, SCORES),
        ({"evaluation.tasks.sts": REMOVED}, QUERIES | SCORES),
    ],
    ids=[
        *("training", "candidates", "made queries", "length", "task without texts", "task with texts"),
        *("task scored in another way", "task under another name", "task with texts removed"),
    ],
)
def test_a_changed_setting_reruns_what_it_can_affect(trained, values, jobs):
    assert trained.planned(changed(trained.config, values)) == jobs


def test_with_fewer_dimensions_queries_and_documents_are_projected_too(trained):
    training = {"objective": {"hidden_states": 0.1}}
    tiny = {"student": {"layers": 1, "dimensions": 8}, "distillation": None, "retrieval": training}
    variants = {"tailored": {}, "tiny": tiny}
    config = changed(trained.config, {"variants": variants})
    model = "results/small/retrieval/students/tiny/model"
    jobs = {"reduce_clone": 1, "project_query_vectors": 2, "tokenize_queries": 1, "train_for_retrieval": 1}
    assert trained.planned(config, model) == jobs
    done = trained.snakemake(model, config=config)
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    facts = trained.json("retrieval/students/tiny/model/manifest.json")["facts"]
    assert facts["after"]["loss"] < facts["before"]["loss"]
    student = SentenceTransformer(str(trained.folder / model), device="cpu", local_files_only=True)
    assert student.encode(["kapı"]).shape == (1, 8)
    shards = trained.json("reduction/tiny/retrieval/queries/manifest.json")["inputs"]["shards"]
    assert shards.keys() == {"en", "tr"}


def test_own_pairs_are_watched_and_evaluations_are_left_out(trained, tmp_path):
    pairs, questions = trained.folder / "pairs.tsv", trained.folder / "questions.json"
    rows = [f"Soru {number} nerede duruyor?\tYanıt {number * 37} burada, kapının yanında." for number in range(40)]
    pairs.write_text("\n".join(["query\tdocument", *rows]) + "\n", encoding="utf-8")
    paragraph = {"context": "Vapur iskeleye yanaştı.", "qas": [{"id": "1", "question": rows[3].split("\t")[0]}]}
    questions.write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}), encoding="utf-8")
    search = {"kind": "retrieval", "squad": {"tr": str(questions)}}
    mine = {"queries.pairs": {"tr": str(pairs)}, "queries.near_duplicate_similarity": None}
    config = changed(trained.config, {**mine, "evaluation.tasks.search": search})
    target = "results/small/retrieval/texts/tr/queries.parquet"
    done = trained.snakemake(target, config=config)
    assert done.returncode == 0, done.stderr
    log = (trained.results / "logs" / "write_queries" / "tr.log").read_text(encoding="utf-8")
    assert "queries of tr: " in log
    assert "dropped: exact_duplicate 1" in log
    pairs.write_text("query\tdocument\nNe?\tBu, kapının yanındaki yanıttır.\n", encoding="utf-8")
    assert trained.planned(config, target) == {"write_queries": 1}
    shutil.rmtree(trained.results / "retrieval" / "texts" / "tr")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"teacher.reads": "pair"}, "variants.tailored.retrieval`: the teacher reads aligned texts"),
        ({"queries.made": 0}, "queries.pairs`: variant 'tailored' has `retrieval`, but no language has pairs"),
        ({"queries.pairs": {"xx": "x.tsv"}}, "queries.pairs.xx`: there is no such language"),
        ({"distillation.objective": {"listwise": 1.0}}, "it ranks candidates, which only `retrieval` has"),
        ({"retrieval.validation_sts": {"path": "x.tsv"}}, "`validation_sts` is only supported in `distillation`"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_runs(trained, values, message):
    code, said = dry_run(trained.arguments(config=changed(trained.config, values)))
    assert code != 0 and message in said
