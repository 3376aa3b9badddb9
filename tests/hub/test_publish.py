"""A model is published in one commit, or in none, or not at all and with a reason."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from langtailor.errors import HubError
from langtailor.publish.model import publish_model, repository_files
from langtailor.sources.hub_client import Patience
from langtailor.sources.hub_upload import Target
from langtailor.storage.artifacts import Manifest, manifest_in, read_json, seal_directory
from tests.hub.conftest import TOKEN
from tests.hub.server import Hub

BRISK = Patience(attempts=3, first_wait=0.01, longest_wait=2.0, timeout=5.0)
TARGET = Target("someone/tailored", "model", private=True)
CARD = '---\nlanguage: tr\n---\n\nSentenceTransformer("path/to/this/folder")\n'
STUDENT = {
    "README.md": CARD.encode(),
    "config.json": b"{}",
    "model.safetensors": bytes(range(256)) * 4_000,
    "1_Pooling/config.json": b'{"pooling_mode": "mean"}',
}
EXPORT = {
    **{name: STUDENT[name] for name in ("config.json", "1_Pooling/config.json")},
    "README.md": b"# run / tailored: onnx\n\n## This export\n\nA graph.\n\n## The exported model\n\nA model.\n",
    "onnx/model.onnx": b"graph" * 1_000,
    "certificate.json": b"{}",
}


def folder_of(place: Path, kind: str, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    seal_directory(place, Manifest(kind))
    return place


@pytest.fixture
def student(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "student", "student", STUDENT)


def publish(student: Path, target: Target = TARGET, **exports: Path) -> dict[str, str]:
    """The receipt of a publication."""
    out = student.with_name("receipt.json")
    publish_model(student, exports, target, out, BRISK)
    return read_json(out, "publication")


def failure(student: Path, target: Target = TARGET) -> str:
    """The message with which a publication fails."""
    with pytest.raises(HubError) as caught:
        publish(student, target)
    assert not student.with_name("receipt.json").exists()
    return str(caught.value)


def test_a_student_is_published_in_one_commit_to_a_private_repository(writer: Hub, student: Path) -> None:
    receipt = publish(student)
    repo = writer.repos["models/someone/tailored"]
    assert repo.private and receipt["commit"] == repo.refs["main"]
    assert receipt["page"] == f"{writer.endpoint}/someone/tailored"
    assert len(writer.uploads.commits) == 1
    there = repo.content
    assert {name: there[name] for name in STUDENT if name != "README.md"} == {
        name: data for name, data in STUDENT.items() if name != "README.md"
    }
    assert there.keys() - STUDENT.keys() == {"manifest.json", ".gitattributes"}
    assert 'SentenceTransformer("someone/tailored")' in there["README.md"].decode()


def test_what_has_not_changed_is_not_committed_again(writer: Hub, student: Path, said: io.StringIO) -> None:
    first = publish(student)
    writer.heal()
    assert publish(student) == first
    assert len(writer.uploads.commits) == 1 and not writer.seen("", "POST") and not writer.seen("", "PUT")
    assert "has all 5 files already: nothing to commit" in said.getvalue()


def test_a_changed_file_alone_is_sent_again(writer: Hub, student: Path) -> None:
    publish(student)
    writer.heal()
    (student / "config.json").write_text('{"changed": true}')
    seal_directory(student, Manifest("student"))
    publish(student)
    assert writer.uploads.commits[1][1] == ["config.json", "manifest.json"]
    assert not writer.seen("", "PUT")


def test_files_of_an_earlier_publication_go_and_those_of_others_stay(writer: Hub, student: Path) -> None:
    publish(student)
    repo = writer.repos["models/someone/tailored"]
    repo.push({**repo.content, "LICENSE": b"theirs"})
    (student / "1_Pooling/config.json").unlink()
    seal_directory(student, Manifest("student"))
    publish(student)
    assert repo.content.keys() == {
        "config.json",
        "model.safetensors",
        *("README.md", "manifest.json", "LICENSE", ".gitattributes"),
    }
    assert writer.uploads.commits[1][1] == ["manifest.json", "-1_Pooling/config.json"]


def test_an_export_stands_where_runtimes_look_for_it(writer: Hub, student: Path, tmp_path: Path) -> None:
    publish(student, onnx=folder_of(tmp_path / "onnx", "export", EXPORT))
    there = writer.repos["models/someone/tailored"].content
    assert there["onnx/model.onnx"] == EXPORT["onnx/model.onnx"] and there["certificates/onnx.json"] == b"{}"
    assert there["README.md"].decode().endswith("\n## Export `onnx`\n\nA graph.\n")
    assert len(writer.uploads.commits) == 1


def test_an_export_with_other_files_than_the_student_has_its_own_folder(student: Path, tmp_path: Path) -> None:
    other = folder_of(tmp_path / "static", "export", {**EXPORT, "config.json": b'{"static": true}'})
    digests = {
        folder / name: digest for folder in (student, other) for name, digest in manifest_in(folder).files.items()
    }
    files = repository_files(student, {"static": other}, digests)
    assert files["config.json"] == student / "config.json"
    assert files["static/config.json"] == other / "config.json"
    assert files["static/onnx/model.onnx"] == other / "onnx/model.onnx"


@pytest.mark.parametrize(
    ("where", "how"),
    [
        ("Signature", {"method": "PUT", "times": 99, "drop": 10_000}),
        ("Signature", {"method": "PUT", "times": 99, "status": 503}),
        ("/commit/", {"method": "POST", "times": 99, "status": 503}),
        ("/objects/batch", {"method": "POST", "times": 99, "status": 503}),
    ],
)
def test_a_publication_that_broke_off_goes_on_and_commits_once(
    writer: Hub, student: Path, monkeypatch: pytest.MonkeyPatch, where: str, how: dict[str, int]
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    (student / "second.safetensors").write_bytes(b"second" * 1_000)
    seal_directory(student, Manifest("student"))
    second = manifest_in(student).files["second.safetensors"]
    writer.fail(where if where != "Signature" else second, **how)
    error = failure(student)
    assert "un again" in error and "Signature=secret" not in error
    assert not writer.uploads.commits
    arrived = set(writer.uploads.objects)
    writer.heal()
    publish(student)
    assert len(writer.uploads.commits) == 1
    sent = {request.path.strip("/").partition("?")[0] for request in writer.seen("Signature", "PUT")}
    assert sent == {second, manifest_in(student).files["model.safetensors"]} - arrived
    assert where != "Signature" or arrived, "the first file is not sent again"


def test_passing_troubles_change_nothing(writer: Hub, student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    writer.fail("/api/repos/create", method="POST", status=503)
    writer.fail("/preupload/", method="POST", status=429, headers={"Retry-After": "1"})
    writer.fail("Signature", method="PUT", status=500)
    writer.fail("Signature", method="PUT", drop=100_000)
    writer.fail("/commit/", method="POST", status=502)
    publish(student)
    assert len(writer.uploads.commits) == 1


def test_a_commit_whose_answer_is_lost_is_not_made_twice(writer: Hub, student: Path) -> None:
    writer.fail("/commit/", method="POST", lose=True)
    assert "was changed by somebody else meanwhile; run again" in failure(student)
    publish(student)
    assert len(writer.uploads.commits) == 1


def test_a_commit_of_somebody_else_in_between_is_not_overwritten(writer: Hub, student: Path) -> None:
    repo = writer.model("someone/tailored", {"README.md": b"x"}, private=True)
    writer.fail("/preupload/", method="POST", wait=0.3)
    moved = writer.uploads.preupload

    def meanwhile(files: dict[str, bytes], asked: dict[str, object]) -> dict[str, object]:
        repo.push({"README.md": b"theirs"})
        return moved(files, asked)

    writer.uploads.preupload = meanwhile  # type: ignore[method-assign]
    try:
        assert "was changed by somebody else meanwhile; run again" in failure(student)
    finally:
        del writer.uploads.preupload
    assert repo.content == {"README.md": b"theirs"}


# -- what is refused --------------------------------------------------------------------------------------------------


def test_without_a_token_nothing_is_asked_of_the_hub(hub: Hub, student: Path) -> None:
    assert "cannot be written without a token" in failure(student)
    assert not hub.requests


def test_a_token_that_may_not_write_is_told_from_one_that_is_unknown(hub: Hub, token: str, student: Path) -> None:
    assert "does not know the token in HF_TOKEN" in failure(student)
    hub.tokens[token] = True
    page = f"{hub.endpoint}/someone/tailored"
    expected = (
        f"the token in HF_TOKEN may not write to {page} (403: You don't have the rights to write to someone/tailored)"
    )
    assert expected in failure(student)
    hub.model("someone/tailored", {"README.md": b"x"}, private=True)
    assert expected in failure(student)


def test_a_token_for_one_repository_is_enough(hub: Hub, token: str, student: Path) -> None:
    hub.tokens[token] = True
    hub.uploads.writers[token] = {"someone/tailored"}
    repo = hub.model("someone/tailored", {"README.md": b"x"}, private=True)
    publish(student)
    assert repo.content["config.json"] == b"{}"


def test_a_name_that_is_a_data_set_is_refused(writer: Hub, student: Path) -> None:
    writer.dataset("someone/tailored", {"README.md": b"x"})
    assert "someone/tailored is a dataset on the Hub, but a model is to be published" in failure(student)
    assert "models/someone/tailored" not in writer.repos


def test_what_shall_be_private_does_not_go_to_a_public_repository(writer: Hub, student: Path) -> None:
    writer.model("someone/tailored", {"README.md": b"x"})
    assert "exists and is public, but `publish.private` is true" in failure(student)
    publish(student, Target(TARGET.name, "model", private=False))
    assert len(writer.uploads.commits) == 1


def test_a_card_that_the_hub_refuses_says_what_is_wrong(writer: Hub, student: Path) -> None:
    writer.uploads.refused_card = '"license" must be one of [...]'
    assert '"license" must be one of [...]' in failure(student)
    assert not writer.uploads.commits and not writer.seen("", "PUT")


def test_a_storage_that_refuses_a_file_says_so(writer: Hub, student: Path) -> None:
    writer.fail("Signature", method="PUT", status=403)
    assert failure(student) == f"{writer.store} refuses access to {writer.endpoint}/someone/tailored (403)"
    assert not writer.uploads.commits


def test_a_hub_that_is_away_says_so(writer: Hub, student: Path) -> None:
    writer.fail("/api/models/someone/tailored", times=9, cut=3)
    assert "cannot be reached" in failure(student)


@pytest.mark.parametrize("case", ["unknown", "reader", "writer", "broken"])
def test_the_token_is_neither_logged_nor_told_nor_sent_to_the_storage(
    hub: Hub,
    token: str,
    student: Path,
    said: io.StringIO,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    case: str,
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    if case != "unknown":
        hub.tokens[token] = True
    if case in ("writer", "broken"):
        hub.uploads.writers[token] = {"someone"}
    if case == "broken":
        hub.fail("Signature", method="PUT", times=99, status=500)
    hub.fail("/api/", status=503)
    told = str(publish(student)) if case == "writer" else failure(student)
    assert "answers 503" in said.getvalue(), "nothing is logged, so nothing is proved"
    assert token == TOKEN == os.environ["HF_TOKEN"]
    assert TOKEN not in said.getvalue() + told + "".join(capfd.readouterr())
    assert hub.seen("/api/")[0].authorization == f"Bearer {token}"
    assert len(hub.seen("Signature", "PUT")) == {"writer": 1, "broken": 6}.get(case, 0)
    assert all(request.authorization is None for request in hub.seen("Signature", "PUT"))
