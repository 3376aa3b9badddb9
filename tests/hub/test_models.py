"""A teacher comes whole from the hub, or not at all and with a reason."""

import logging

import pytest

from langtailor.config import TeacherSettings
from langtailor.errors import HubError
from langtailor.hub import download_file, resolve_revision
from langtailor.teacher import fetch_teacher, load_teacher
from tests.hub.server import COMMIT, Fault, Repository
from tests.models import make_tiny_bert_teacher


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = make_tiny_bert_teacher(tmp_path_factory.mktemp("teacher") / "model")
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def served(hub, files):
    hub.models["owner/teacher"] = Repository({**files, "pytorch_model.bin": b"pickle"})
    return hub


SETTINGS = TeacherSettings(model="owner/teacher")


def test_the_model_is_pinned_to_a_commit_and_loads(served, tmp_path):
    fetch_teacher(SETTINGS, tmp_path / "teacher")
    assert COMMIT in (tmp_path / "teacher" / "manifest.json").read_text()
    assert load_teacher(tmp_path / "teacher", SETTINGS, "cpu").encode(["merhaba"]).shape[0] == 1


def test_pickled_weights_are_not_even_fetched(served, tmp_path):
    fetch_teacher(SETTINGS, tmp_path / "teacher")
    assert served.fetched("pytorch_model.bin") == 0


def test_a_model_without_safetensors_is_refused(served, tmp_path, files):
    served.models["owner/teacher"].files = {k: v for k, v in files.items() if not k.endswith(".safetensors")}
    with pytest.raises(HubError, match="no safetensors"):
        fetch_teacher(SETTINGS, tmp_path / "teacher")
    assert not (tmp_path / "teacher").exists()


def test_a_gated_model_says_which_page_and_which_variable(served, tmp_path):
    served.models["owner/teacher"].gated = True
    with pytest.raises(HubError) as caught:
        fetch_teacher(SETTINGS, tmp_path / "teacher")
    assert f"{served.url}/owner/teacher" in str(caught.value)
    assert "HF_TOKEN" in str(caught.value)


def test_a_token_opens_it_and_is_never_shown(served, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    served.models["owner/teacher"].gated = True
    monkeypatch.setenv("HF_TOKEN", served.token)
    fetch_teacher(SETTINGS, tmp_path / "teacher")
    monkeypatch.setenv("HF_TOKEN", "hf_wrongwrongwrong")
    with pytest.raises(HubError) as caught:
        fetch_teacher(SETTINGS, tmp_path / "again")
    shown = caplog.text + str(caught.value) + repr(caught.value.__cause__)
    assert served.token not in shown
    assert "hf_wrongwrongwrong" not in shown


def test_an_unknown_model_revision_or_file_is_told_apart(served, tmp_path):
    with pytest.raises(HubError, match="does not know it"):
        resolve_revision("owner/nobody", "model", "main")
    with pytest.raises(HubError, match="no revision 'v9'"):
        resolve_revision("owner/teacher", "model", "v9")
    with pytest.raises(HubError, match="lacks a file"):
        download_file("owner/teacher", "nothing.json", "main", tmp_path)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_hub_is_waited_for(served, tmp_path, status):
    headers = {"Retry-After": "1"}
    served.faults += [Fault("/api/models", 2, status, headers), Fault("model.safetensors", 2, status, headers)]
    fetch_teacher(SETTINGS, tmp_path / "teacher")
    assert (tmp_path / "teacher" / "model.safetensors").is_file()


@pytest.mark.parametrize(("status", "says"), [(429, "asks too often"), (503, "answered 503")])
def test_a_hub_that_stays_busy_is_given_up_with_a_reason(served, status, says):
    served.faults.append(Fault("/api/models", 1_000, status))
    with pytest.raises(HubError, match=says):
        resolve_revision("owner/teacher", "model", "main")


def test_a_connection_cut_in_mid_file_is_taken_up_again(served, tmp_path, files):
    served.faults.append(Fault("model.safetensors", 3, cut_after=1_000))
    fetch_teacher(SETTINGS, tmp_path / "teacher")
    assert (tmp_path / "teacher" / "model.safetensors").read_bytes() == files["model.safetensors"]


def test_a_slow_hub_is_waited_for(served, tmp_path):
    served.faults.append(Fault("config.json", 1, seconds=1.0))
    fetch_teacher(SETTINGS, tmp_path / "teacher")


def test_a_hub_that_does_not_answer_is_given_up(served):
    served.faults.append(Fault("/api/models", 1_000, seconds=30.0))
    with pytest.raises(HubError, match="cannot be reached"):
        resolve_revision("owner/slow", "model", "main")


def test_a_file_with_the_wrong_content_is_refused_by_name(served, tmp_path):
    served.wrong_sha256.add("model.safetensors")
    with pytest.raises(HubError, match=r"model\.safetensors does not have the SHA-256"):
        fetch_teacher(SETTINGS, tmp_path / "teacher")
    assert not list(tmp_path.rglob("model.safetensors"))
