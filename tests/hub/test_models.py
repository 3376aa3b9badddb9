"""A teacher comes whole from the Hub, or not at all and with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from langtailor.config.teacher import TeacherSettings
from langtailor.config.vocabulary import GraftSettings
from langtailor.errors import ConfigError, HubError
from langtailor.models.loading import load_teacher
from langtailor.storage.artifacts import read_manifest
from langtailor.teacher.fetch import fetch_teacher
from langtailor.vocabulary.donor import load_donor
from tests.hub.repository import Repo
from tests.hub.server import Hub
from tests.models import make_tiny_bert_teacher, make_tiny_gemma_teacher

SETTINGS = TeacherSettings(model="someone/teacher")


def read_all(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return read_all(make_tiny_bert_teacher(tmp_path_factory.mktemp("bert") / "model"))


@pytest.fixture
def model(hub: Hub, files: dict[str, bytes]) -> Repo:
    aside = {
        "pytorch_model.bin": b"pickle",
        "onnx/model.onnx": b"graph",
        "openvino/openvino_model.bin": b"ir",
        ".gitattributes": b"*.bin filter=lfs",
        "manifest.json": b"{}",
    }
    return hub.model("someone/teacher", {**files, **aside})


def test_a_model_is_pinned_to_its_commit_and_loads(model: Repo, files: dict[str, bytes], tmp_path: Path) -> None:
    fetch_teacher(SETTINGS, tmp_path / "model")
    manifest = read_manifest(tmp_path / "model", "teacher")
    assert manifest.inputs["commit"] == model.refs["main"]
    assert {name: (tmp_path / "model" / name).read_bytes() for name in manifest.files} == files
    assert load_teacher(tmp_path / "model", SETTINGS, "cpu").encode(["Merhaba dünya."]).shape == (1, 32)
    assert [path.name for path in tmp_path.iterdir()] == ["model"], "downloads are left behind"


def test_other_formats_are_not_even_fetched(hub: Hub, model: Repo, tmp_path: Path) -> None:
    fetch_teacher(SETTINGS, tmp_path / "model")
    fetched = {request.path.partition("/resolve/")[2].partition("/")[2] for request in hub.seen("/resolve/", "HEAD")}
    assert "model.safetensors" in fetched
    assert not fetched & {"pytorch_model.bin", "onnx/model.onnx", "openvino/openvino_model.bin", ".gitattributes"}


def test_a_model_without_safetensors_is_refused_by_name_before_anything_is_fetched(
    hub: Hub, files: dict[str, bytes], tmp_path: Path
) -> None:
    small = {name: data for name, data in files.items() if not name.endswith(".safetensors")}
    hub.model("someone/teacher", {**small, "pytorch_model.bin": b"pickle"})
    with pytest.raises(ConfigError, match=r"has pytorch_model\.bin but no safetensors weights next to it"):
        fetch_teacher(SETTINGS, tmp_path / "model")
    assert not hub.seen("/resolve/", "HEAD") and not (tmp_path / "model").exists()


def test_a_dense_module_that_is_pickled_is_refused_by_name(hub: Hub, tmp_path: Path) -> None:
    files = read_all(make_tiny_gemma_teacher(tmp_path / "gemma"))
    files["2_Dense/pytorch_model.bin"] = files.pop("2_Dense/model.safetensors")
    hub.model("someone/teacher", files)
    with pytest.raises(ConfigError, match=r"has 2_Dense/pytorch_model\.bin but no safetensors"):
        fetch_teacher(SETTINGS, tmp_path / "model")


def test_a_gated_teacher_names_the_page_and_the_variable(hub: Hub, model: Repo, tmp_path: Path) -> None:
    model.gated = True
    with pytest.raises(HubError, match=f"open {hub.endpoint}/someone/teacher, log in .* set HF_TOKEN"):
        fetch_teacher(SETTINGS, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_fetch_that_broke_goes_on_with_the_files_that_miss(
    hub: Hub, model: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.fail("model.safetensors", times=99, status=503)
    with pytest.raises(HubError, match="503"):
        fetch_teacher(SETTINGS, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    before = {request.path for request in hub.seen("/resolve/", "HEAD")}
    hub.heal()
    fetch_teacher(SETTINGS, tmp_path / "model")
    again = {request.path for request in hub.seen("/resolve/", "HEAD")}
    assert {path for path in before & again if not path.endswith("/model.safetensors")} == set()
    read_manifest(tmp_path / "model", "teacher")


def test_a_prompt_that_the_model_lacks_is_named_and_what_was_downloaded_is_kept(
    hub: Hub, model: Repo, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"config `queries\.query_prompt`: .*'quer'"):
        fetch_teacher(SETTINGS, tmp_path / "model", [("teacher.prompt", "passage: "), ("queries.query_prompt", "quer")])
    assert not (tmp_path / "model").exists()
    fetched = len(hub.seen("/resolve/", "GET"))
    fetch_teacher(SETTINGS, tmp_path / "model", [("teacher.prompt", "passage: ")])
    assert len(hub.seen("/resolve/", "GET")) == fetched, "nothing came twice"


def test_the_branch_may_move_on_between_two_fetches(model: Repo, files: dict[str, bytes], tmp_path: Path) -> None:
    old = model.refs["main"]
    new = model.push({**files, "README.md": b"---\nlicense: mit\n---\n"})
    fetch_teacher(SETTINGS, tmp_path / "new")
    fetch_teacher(SETTINGS.model_copy(update={"revision": old}), tmp_path / "old")
    manifests = [read_manifest(tmp_path / name, "teacher") for name in ("new", "old")]
    assert [manifest.inputs["commit"] for manifest in manifests] == [new, old]
    assert [manifest.facts["license"] for manifest in manifests] == ["mit", None]


def test_a_donor_s_tokenizer_is_fetched_alone(hub: Hub, model: Repo, files: dict[str, bytes], tmp_path: Path) -> None:
    donor = load_donor(GraftSettings(donor="someone/teacher"), tmp_path)
    assert donor is not None and donor["model"]["type"] == "WordPiece"
    assert [r.path.rpartition("/")[2] for r in hub.seen("/resolve/", "HEAD")] == ["tokenizer.json"]
