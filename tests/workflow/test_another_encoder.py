"""A student that is made of another encoder than the teacher, through the workflow."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer

from langtailor.storage.artifacts import read_json
from tests.models import HIDDEN, make_tiny_model
from tests.unit.surgery_teachers import write_unigram
from tests.workflow.conftest import Workflow, changed
from tests.workflow.planner import dry_run

pytestmark = pytest.mark.timeout(900)

WIDTH = HIDDEN // 2


@pytest.fixture(scope="module")
def trained(finished, tmp_path_factory) -> Workflow:
    """The small run whose student is made of XLM-R with a Unigram tokenizer, half as wide as the teacher, which is BERT."""
    run = finished.copy(tmp_path_factory.mktemp("another") / "run")
    encoder = run.folder / "encoder"
    write_unigram(encoder)
    shape = {"hidden_size": WIDTH, "intermediate_size": HIDDEN, "max_position_embeddings": 130, "pad_token_id": 1}
    make_tiny_model(encoder, "XLMRoberta", "Normalize", **shape, type_vocab_size=1)
    other = {
        "student": {"model": "./encoder", "prompt": "query: "},
        "vocabulary": {"size": 300, "min_count": 0},
        "distillation.epochs": 1,
    }
    run.config = changed(run.config, other)
    jobs = run.planned()
    assert jobs["fetch_base"] == jobs["reduce_clone"] == 1
    assert not {"fetch_teacher", "build_corpus", "teacher_vectors", "evaluate_teacher"} & jobs.keys(), "they are there"
    done = run.snakemake("all")
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    assert run.planned() == {}
    return run


def test_its_vectors_are_the_teachers_and_its_layers_and_tokens_its_own(trained):
    student = SentenceTransformer(str(trained.results / "student" / "tailored"), device="cpu", local_files_only=True)
    assert student.encode(["kapı"]).shape == (1, HIDDEN)
    assert student[0].auto_model.config.hidden_size == WIDTH
    encoder, clone = (
        load_file(folder / "model.safetensors") for folder in (trained.folder / "encoder", clone_of(trained))
    )
    rows = [name for name in encoder if "word_embeddings" in name]
    assert all(np.array_equal(encoder[name], clone[name]) for name in encoder if name not in rows)
    vocabularies = [
        json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
        for folder in (trained.folder / "encoder", clone_of(trained))
    ]
    kept, before = ({token for token, _ in vocabulary} for vocabulary in reversed(vocabularies))
    assert kept < before


def clone_of(run: Workflow):
    return run.results / "clone" / "tailored"


def test_each_step_is_compared_where_its_vectors_can_be(trained):
    folder = trained.results / "evaluation" / "tailored"
    names = {step: {path.stem for path in (folder / step).glob("*.json")} - {"manifest"} for step in STEPS}
    for step in ("base", "clone"):
        assert names[step] == {"bitext", "fertility"}, "of another encoder, no vector is compared with the teacher's"
    for step in ("reduced", "student"):
        assert names[step] == {"agreement", "bitext", "fertility"}
    mapped, student = (
        read_json(folder / step / "agreement.json", "evaluation")["scores"][0]["value"] for step in STEPS[2:]
    )
    facts = trained.json("reduction/tailored/model/manifest.json")["facts"]["reduction"]
    assert 0.9 < mapped <= student <= 1
    assert facts["mapped"] > 0 and facts["dimensions"] is None


STEPS = ("base", "clone", "reduced", "student")


def test_report_and_card_tell_the_models_apart(trained):
    page = (trained.results / "report.html").read_text(encoding="utf-8")
    assert "trained on the vectors of teacher" in page
    for words in ("base model", "mapped"):
        assert f'<th scope="col">{words}</th>' in page
    card = (trained.results / "student" / "tailored" / "README.md").read_text(encoding="utf-8")
    for words in (
        "made from `encoder`",
        'prompt="query: "',
        "Its teacher is another model, `teacher`",
        "| | base model | this model |",
    ):
        assert words in card
    said = read_json(trained.results / "provenance.json", "provenance")
    assert "base/model" in said["artifacts"]


def test_with_dimensions_it_gives_a_projection_of_the_teachers_vectors(trained):
    config = changed(trained.config, {"variants": {"tailored": {}, "tiny": {"student": {"dimensions": 8}}}})
    target = "results/small/reduction/tiny/vectors"
    assert trained.planned(config, target) == {"reduce_clone": 1, "project_vectors": 1}
    done = trained.snakemake(target, config=config)
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    model = SentenceTransformer(str(trained.results / "reduction" / "tiny" / "model"), device="cpu")
    assert model.encode(["kapı"]).shape == (1, 8)
    facts = trained.json("reduction/tiny/model/manifest.json")["facts"]["reduction"]
    assert (facts["dimensions"], 0 < facts["mapped"] <= 1) == (8, True)


def test_another_prompt_makes_what_reads_text_again(trained):
    jobs = trained.planned(changed(trained.config, {"student.prompt": "passage: "}))
    assert {"reduce_clone", "tokenize_corpora", "distil", "evaluate"} <= jobs.keys()
    assert not {"fetch_base", "evaluate_teacher", "teacher_vectors"} & jobs.keys()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"student.model": "encoder"}, "config `student.model`: encoder is a folder here: write ./encoder"),
        ({"student.model": "./nowhere"}, "config `student.model`: './nowhere' is not a folder"),
        (
            {"variants": {"tailored": {"student": {"model": "./other"}}}},
            "variants.tailored.student.model`: all variants",
        ),
        (
            {"vocabulary.graft": {"policy": "agreement", "share": 0.1}},
            "vocabulary.graft.policy`: found 'agreement', but",
        ),
        ({"vocabulary.graft": {"share": 0.1}, "initialisation": {}}, "initialisation.method`: found 'agreement', but"),
        (
            {"teacher.reads": "text", "queries": {"made": 60}, "retrieval": {}},
            "variants.tailored.retrieval`: students are made of another encoder",
        ),
        (
            {"evaluation.tasks.search": {"kind": "retrieval", "squad": {"tr": "x.json"}, "asymmetric": True}},
            "evaluation.tasks.search.asymmetric`: students are made of another encoder",
        ),
    ],
    ids=["bare folder", "folder", "variant", "share by agreement", "rows by agreement", "retrieval", "asymmetric"],
)
def test_what_does_not_go_together_is_refused_before_anything_runs(trained, tmp_path, values, message):
    code, said = dry_run(trained.arguments(config=changed(trained.config, {**values, "run": "other"})))
    assert code != 0 and message in said
