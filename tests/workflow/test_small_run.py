"""A whole small run of the real workflow; `test_reruns.py` says what reruns after it."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from sentence_transformers import SentenceTransformer

from langtailor.storage.artifacts import read_json
from langtailor.storage.digests import sha256_file
from tests.workflow.browser import examine, needs_chromium
from tests.workflow.conftest import ROOT, changed

pytestmark = pytest.mark.timeout(900)


def test_the_student_opens_and_encodes(finished):
    model = SentenceTransformer(str(finished.results / "student" / "tailored"), device="cpu")
    assert model.encode(["Bugün hava çok güzel.", "The weather is lovely."]).shape == (2, 32)


def test_the_model_card_says_what_it_is(finished):
    card = (finished.results / "student" / "tailored" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\n")
    assert "| agreement | cosine | all |" in card
    assert f"made from `{Path(finished.config['teacher']['model']).name}`" in card
    assert str(finished.folder) not in card, "a path on this machine says nothing to a reader"


def test_the_report_is_one_self_contained_page(finished):
    page = (finished.results / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") >= 5
    assert "&lt;svg" not in page
    assert not re.search(r'(src|href)="(?!#)', page), "nothing outside the page is referred to"
    for rule in ("build_corpus", "teacher_vectors", "distil"):
        assert rule in page


@needs_chromium
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1400, 390])
def test_the_report_is_accessible_on_a_screen_and_on_a_phone(finished, tmp_path, width, dark):
    examination = examine(finished.results / "report.html", tmp_path, width, dark)
    assert (examination.width["window"], examination.dark) == (width, dark)
    assert examination.violations == []
    assert examination.rules_passed > 30
    assert examination.width["page"] <= width, "the page scrolls sideways"
    as_written, once, twice = examination.order
    assert once == sorted(as_written) and twice == once[::-1] != once, "a press on a heading sorts, another turns round"


def test_snakemakes_own_report_holds_scores_certificate_and_curves(finished):
    bundle = finished.folder / "report.zip"
    done = finished.snakemake("--report", str(bundle))
    assert done.returncode == 0, done.stderr
    with ZipFile(bundle) as archive:
        files = {Path(name).name: archive.read(name).decode(errors="replace") for name in archive.namelist()}
    assert set(files) >= {"report.html", "scores.html", "certificate.html", "training.html"}
    page = (finished.results / "report.html").read_text(encoding="utf-8")
    for name, heading in (
        ("scores", "Scores"),
        ("certificate", "Certificate of the tokenizer"),
        ("training", "Training"),
    ):
        part = files[f"{name}.html"]
        body = part[part.index("<body>") + len("<body>") : part.index("</body>")].strip()
        assert body.startswith(f"<h3>{heading}</h3>")
        assert body in page
        caption = (ROOT / "workflow" / "report" / f"{name}.rst").read_text(encoding="utf-8").split()
        assert any(" ".join(caption[:5]) in " ".join(text.split()) for text in files.values())


def test_what_made_the_run_is_written_down(finished):
    said = read_json(finished.results / "provenance.json", "provenance")
    assert said["config"]["run"] == "small"
    assert said["config"]["distillation"]["batch_size"] == 16
    assert said["teacher"]["model"] == finished.config["teacher"]["model"]
    assert said["revisions"].keys() == {"en", "tr"}
    assert len(set(said["revisions"].values())) == 2, "each language's sample has a content of its own"
    assert said["machine"]["processors"] == os.cpu_count()
    assert {stage["rule"] for stage in said["stages"]} >= {"build_corpus", "distil", "evaluate"}
    assert said["artifacts"]["corpus/tr.parquet"] == sha256_file(finished.results / "corpus" / "tr.parquet")
    assert {"clone/tailored", "distillation/tailored/model", "vectors/0000", "evaluation/teacher"} <= said[
        "artifacts"
    ].keys()


def test_training_helps(finished):
    facts = finished.json("distillation/tailored/model/manifest.json")["facts"]
    assert facts["after"]["loss"] < facts["before"]["loss"]


def test_the_certificate_holds(finished):
    certificate = finished.json("tokenizer/tailored/certificate.json")
    assert certificate["unreachable"] == 0
    assert certificate["all"]["retained_identical"] == certificate["all"]["retained"]


def test_a_second_run_does_nothing(finished):
    done = finished.snakemake("all")
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout + done.stderr
    assert finished.planned() == {}


def test_a_damaged_artifact_is_named_and_rebuilt_by_its_rule(finished):
    path = finished.results / "counts" / "tr.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    done = finished.snakemake("results/small/vocabulary/tailored.parquet", "--force")
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "counts/tr.parquet: is not what its job wrote" in said
    assert "Traceback" not in said
    assert finished.snakemake("--force", "results/small/counts/tr.parquet").returncode == 0
    assert path.read_bytes() == whole
    assert finished.snakemake("results/small/vocabulary/tailored.parquet").returncode == 0
    assert finished.snakemake("all").returncode == 0


def test_the_share_of_new_tokens_is_chosen_by_the_vectors(finished):
    judged = {"vocabulary.graft.policy": "agreement", "vocabulary.graft.share": 0.2}
    file = finished.results / "vocabulary" / "tailored.share.json"
    name = str(file.relative_to(finished.folder))
    done = finished.snakemake(name, config=changed(finished.config, judged))
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    chosen = read_json(file, "graft share")
    file.unlink()
    trials = {trial["share"]: trial for trial in chosen["trials"]}
    assert (trials[0.0]["grafts"], trials[0.0]["harm"]) == (0, 0.0)
    assert chosen["share"] == max(share for share, trial in trials.items() if trial["harm"] <= chosen["tolerance"])
    for share, trial in trials.items():
        harm = max(trials[0.0]["cosine"][lang] - trial["cosine"][lang] for lang in ("en", "tr"))
        assert trial["harm"] == pytest.approx(max(0, harm), abs=2e-6)
        assert share == 0 or (trial["grafts"] and trial["fertility"]["tr"] < trials[0.0]["fertility"]["tr"])


def test_the_method_of_new_rows_is_chosen_by_the_vectors(finished):
    variants = {"tailored": {}, "judged": {"initialisation": {"method": "agreement"}}}
    clone = finished.results / "clone"
    target = str((clone / "judged").relative_to(finished.folder))
    done = finished.snakemake(target, config=changed(finished.config, {"variants": variants}))
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    chosen = read_json(clone / "judged.method.json", "row method")
    trials = {trial["method"]: trial["target_cosine"] for trial in chosen["trials"]}
    assert trials.keys() == {"mean", "learned", "aligned"}, "the sample has pairs"
    assert trials[chosen["method"]] == max(trials.values())
    facts = json.loads((clone / "judged" / "manifest.json").read_text(encoding="utf-8"))
    assert facts["made_by"]["method"] == chosen["method"]
    assert facts["facts"]["row_trials"] == chosen["trials"]
    remove_variant(finished, "judged")


def test_a_training_that_is_given_two_gpus_runs_in_two_processes(finished):
    """Here on the processor, which does the same."""
    variants = {"tailored": {}, "twice": {"distillation": {"epochs": 1}}}
    model = finished.results / "distillation" / "twice" / "model"
    target = [str(model.relative_to(finished.folder)), "--set-resources", "distil:gpu=2"]
    done = finished.snakemake(*target, config=changed(finished.config, {"variants": variants}))
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    log = (finished.results / "logs" / "distil" / "twice.log").read_text(encoding="utf-8")
    assert "training in 2 processes" in log
    assert "writing the student" in log
    facts = read_json_facts(model)
    assert facts["after"]["loss"] < facts["before"]["loss"]
    remove_variant(finished, "twice")


def test_a_student_with_fewer_layers_and_dimensions_is_trained_and_compared(finished):
    training = {"epochs": 1, "objective": {"hidden_states": 0.1}}
    variants = {"tailored": {}, "tiny": {"student": {"layers": 1, "dimensions": 8}, "distillation": training}}
    student = finished.results / "student" / "tiny"
    target = str(student.relative_to(finished.folder))
    done = finished.snakemake(target, config=changed(finished.config, {"variants": variants}))
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    model = SentenceTransformer(str(student), device="cpu", local_files_only=True)
    assert model.encode(["kapı"]).shape == (1, 8)
    assert model[0].auto_model.config.num_hidden_layers == 1
    assert not (finished.results / "clone" / "tiny").exists(), "the clone of the other variant is its own, too"
    scores = {
        model: read_json(finished.results / "evaluation" / "tiny" / model / "agreement.json", "evaluation")["scores"][0]
        for model in ("reduced", "student")
    }
    assert 0 < scores["reduced"]["value"] < scores["student"]["value"] <= 1, "to the projected vectors of the teacher"
    trained = finished.results / "distillation" / "tiny" / "model"
    assert '"hidden_states"' in (trained / "training.jsonl").read_text(encoding="utf-8")
    facts = read_json_facts(trained)
    assert facts["after"]["loss"] < facts["before"]["loss"]
    remove_variant(finished, "tiny")


def read_json_facts(folder: Path) -> dict[str, Any]:
    """The facts of a folder's manifest."""
    facts: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["facts"]
    return facts


def remove_variant(finished, name: str) -> None:
    """Remove what a further variant has left in the run that other tests look at."""
    for folder in ("vocabulary", "tokenizer", "clone", "reduction", "distillation", "evaluation", "student"):
        for path in [*(finished.results / folder).glob(f"{name}*"), *(finished.results / folder).glob(f".{name}*")]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_exports_come_with_certificates_that_report_and_card_show(finished):
    config = changed(finished.config, {"export": {"formats": ["onnx", "onnx-int8-weights", "static"]}})
    folder = finished.results / "export" / "tailored"
    done = finished.snakemake("exports", config=config)
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    for name in ("onnx", "onnx-int8-weights"):  # the third is looked at below
        certificate = read_json(folder / name / "certificate.json", "export certificate")
        assert (certificate["broken"], certificate["other_ids"]) == ([], 0)
        assert {"en", "tr", "scripts"} == certificate["cosines"].keys()
        assert certificate["tasks"].keys() == {"agreement", "bitext"}, "the third task is not about vectors"
        card = (folder / name / "README.md").read_text(encoding="utf-8")
        assert "## This export" in card
        assert f"| {name} |" in card
    assert read_json(folder / "onnx" / "certificate.json", "export certificate")["cosines"]["tr"]["least"] > 0.9999
    static = read_json(folder / "static" / "certificate.json", "export certificate")
    assert (static["broken"], static["tasks"].keys()) == ([], {"bitext"}), "its vectors are not the teacher's"
    assert static["cosines"].keys() == {"en", "tr"}, "random words say nothing of it"
    assert SentenceTransformer(str(folder / "static"), device="cpu").encode(["kapı"]).shape == (1, 32)

    strict = changed(config, {"export.formats": ["onnx-int8"], "export.mean_cosine": 1.0})
    refused = finished.snakemake("exports", config=strict)
    assert refused.returncode != 0
    assert "onnx-int8 is too far from the student: " in refused.stdout + refused.stderr
    assert (folder / "onnx-int8.refused" / "certificate.json").is_file()
    assert not (folder / "onnx-int8").exists()
