"""What can be said without running anything: plans, targets and refusals."""

import subprocess
import sys

import pytest
import yaml
from packaging.version import InvalidVersion, Version

from tests.workflow.conftest import ROOT, changed
from tests.workflow.planner import dry_run

pytestmark = pytest.mark.timeout(300)


def plan(config, *arguments):
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", *arguments, "--configfile", str(config)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("recipe", ["turkish-200m", "e5-small-one-language", "portuguese-sweep"])
def test_every_recipe_plans_without_the_network(recipe, tmp_path):
    # The tests' hub knows no repository: a plan that asked for one would fail.
    done = plan(ROOT / "config" / f"{recipe}.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_paper_recipe_names_every_job(tmp_path):
    command = [sys.executable, "-m", "snakemake", "-n", "--configfile", "config/turkish-200m.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    # 40 languages; 812,000 passages, of which a job of vectors has 60,000 at most.
    for line in ("build_corpus            40", "count_tokens             1", "teacher_vectors         15"):
        assert line in done.stdout + done.stderr


#: Each takes longer to import than a plan takes.
HEAVY = {"torch", "transformers", "sentence_transformers", "datasets", "sklearn", "scipy", "tokenizers", "mteb"}
PLAN = """
import runpy, sys
sys.argv = ["snakemake", "-n", "--quiet", "all"]
try:
    runpy.run_module("snakemake", run_name="__main__")
except SystemExit as end:
    print(end.code, *sys.modules)
"""


def test_a_plan_imports_no_heavy_library():
    done = subprocess.run(
        [sys.executable, "-c", PLAN], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    code, *modules = done.stdout.splitlines()[-1].split()
    assert code == "0", done.stderr
    assert HEAVY.isdisjoint(modules)


def test_a_configfile_stands_alone(workflow):
    jobs = workflow.planned({**workflow.config, "run": "fresh"})
    assert jobs["build_corpus"] == 2, "the demo's languages are not mixed in"


def test_the_recipe_for_own_files_names_the_first_that_is_missing(workflow):
    recipe = yaml.safe_load((ROOT / "config" / "local-folder.yaml").read_text(encoding="utf-8"))
    code, said = dry_run(workflow.arguments(config=recipe))
    assert code != 0 and "config `teacher.model`: './models/teacher' is not a folder" in said
    code, said = dry_run(workflow.arguments(config={**recipe, "teacher": workflow.config["teacher"]}))
    assert code != 0 and "data/en.jsonl does not exist" in said


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("vocabulary.size", -1, "config `vocabulary.size`: must be greater than or equal to 1; found -1"),
        ("vocabluary", {}, "config `vocabluary`: there is no such key; did you mean `vocabulary`?"),
        ("corpus.languages", {False: {}, "tr": {}}, "config `corpus.languages`: the key false is not text"),
        ("distillation.learning_rate", "5e-5", "config `distillation.learning_rate`: must be a number; found '5e-5'"),
        ("target_languages", ["tr", "tr"], "config `target_languages`: 'tr' appears twice"),
        ("run", "../up", "config `run`"),
        ("corpus.quotas.train", 10**10, "config `corpus.quotas`: 20,000,000,064 passages"),
        ("teacher", {}, "config `teacher.model`"),
        ("results", "out{x}", "config `results`: a path must not contain '{'"),
    ],
)
def test_a_wrong_value_is_refused_by_key_before_anything_runs(workflow, key, value, says):
    code, said = dry_run(workflow.arguments(config=changed(workflow.config, {key: value})))
    assert code != 0
    assert says in said
    for piece in ("Traceback", "properties", "jsonschema", "pydantic"):
        assert piece not in said


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("vocabulary={size: 128, graft: {share: 0.5}}", "Job stats"),
        ('distillation={"learning_rate": 5e-5, "max_length": null, "objective": {"matryoshka": [8]}}', "Job stats"),
        ("vocabulary={size: -1}", "config `vocabulary.size`: must be greater than or equal to 1; found -1"),
        ("vocabulary={sise: 1}", "config `vocabulary.sise`: there is no such key; did you mean `size`?"),
        ("vocabulary=size", "config `vocabulary`: must hold keys and values; found 'size'"),
        ("target_languages=[tr, tr]", "config `target_languages`: 'tr' appears twice"),
        ("run=2024", 'even in quotes; write it into the configuration file: "2024"'),
    ],
)
def test_values_of_the_command_line_may_be_nested(workflow, argument, says):
    _, said = dry_run(workflow.arguments("--config", argument))
    assert says in said
    assert "Traceback" not in said


def test_text_with_braces_is_no_pattern_unless_it_names_a_file(workflow, tmp_path):
    jobs = workflow.planned(changed(workflow.config, {"report.title": "All of {it}", "teacher.prompt": "{q}: "}))
    assert jobs["write_report"] == 1
    (tmp_path / "odd{name}.txt").write_text("One sentence.\n", encoding="utf-8")
    source = {"corpus.sources.own": {"kind": "files", "path": str(tmp_path)}, "corpus.languages.tr.source": "own"}
    config = changed(workflow.config, {**source, "corpus.languages.en.source": "sample"})
    code, said = dry_run(workflow.arguments(config=config))
    assert code != 0, said[-1500:]
    assert "odd{name}.txt: Snakemake takes {, }, < and > in a file's name for a pattern; rename the file" in said


def test_targets_stop_after_their_stage(workflow):
    config = {**workflow.config, "run": "fresh"}
    done = workflow.snakemake("-n", "tokenizer", config=config)
    assert "write_tokenizer" in done.stdout + done.stderr
    assert "clone_model" not in done.stdout + done.stderr


def test_environments_hold_the_lock(tmp_path):
    for kind in ("cpu", "gpu", "export"):
        lock = (ROOT / "requirements" / f"{kind}.txt").read_text(encoding="utf-8").splitlines()
        pins = [line for line in lock if "==" in line]
        environment = yaml.safe_load((ROOT / "envs" / f"{kind}.yaml").read_text(encoding="utf-8"))
        listed = [entry for entry in environment["dependencies"][-1]["pip"] if not entry.startswith("-")]
        assert listed == pins


def test_the_locks_agree_but_for_the_build_of_torch():
    def pins(kind):
        lines = (ROOT / "requirements" / f"{kind}.txt").read_text(encoding="utf-8").splitlines()
        return dict(line.split("==") for line in lines if "==" in line)

    cpu, gpu, dev = pins("cpu"), pins("gpu"), pins("dev")
    assert cpu.pop("torch") == gpu.pop("torch") + "+cpu"
    assert cpu == gpu
    assert cpu.items() <= dev.items()


def test_every_pin_of_a_lock_is_a_version_that_pip_finds():
    locks = sorted((ROOT / "requirements").glob("*.txt"))
    pins = [line for lock in locks for line in lock.read_text(encoding="utf-8").splitlines() if "==" in line]
    assert len(locks) == 5 and len(pins) > 100
    assert [pin for pin in pins if not canonical(pin.partition("==")[2])] == []


def canonical(version: str) -> bool:
    try:
        return str(Version(version)) == version
    except InvalidVersion:
        return False


def test_a_share_is_tried_where_it_is_chosen_by_the_vectors_and_nowhere_else(workflow):
    judged = {"run": "judged", "vocabulary.graft.policy": "agreement", "distillation": None}
    jobs = workflow.planned(changed(workflow.config, judged))
    assert jobs["choose_graft_share"] == 1
    assert "choose_graft_share" not in workflow.planned({**workflow.config, "run": "judged"})


def test_rows_are_tried_where_the_method_is_open_and_there_are_new_tokens(workflow):
    open_method = changed(workflow.config, {"run": "judged", "initialisation": {}, "distillation": None})
    assert workflow.planned(open_method)["choose_row_method"] == 1
    cut = workflow.planned(changed(open_method, {"vocabulary.graft": {"share": 0}}))
    assert "choose_row_method" not in cut
    assert "choose_row_method" not in workflow.planned({**workflow.config, "run": "judged"})


def test_a_language_without_text_lists_words_and_samples_no_documents(workflow):
    words = {"kind": "vocabulary", "letters": {"tr": "a-z"}}
    own = {"run": "words", "corpus.sources.words": words, "corpus.languages.tr.source": "words"}
    config = changed(workflow.config, {**own, "corpus.languages.en.source": "sample"})
    jobs = workflow.planned(config)
    assert (jobs["list_words"], jobs["fetch_documents"]) == (1, 1)
