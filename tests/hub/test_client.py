"""The Hub is asked patiently, its refusals are plain, and what arrives is what it recorded."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from langtailor.errors import HubError
from langtailor.sources.hub import download, download_file, find_snapshot, resolve_revision
from langtailor.sources.hub_client import Patience
from tests.hub.conftest import TOKEN
from tests.hub.repository import Repo
from tests.hub.server import Hub

BRISK = Patience(attempts=3, first_wait=0.01, longest_wait=2.0, timeout=5.0)
SMALL = b'{"hidden_size": 32}\n'
LARGE = bytes(range(256)) * 4000
FILES = {"config.json": SMALL, "model.safetensors": LARGE, "1_Pooling/config.json": b"{}"}


@pytest.fixture
def model(hub: Hub) -> Repo:
    return hub.model("someone/teacher", FILES)


def fetch(
    work: Path, name: str = "model.safetensors", patience: Patience = BRISK, repo: str = "someone/teacher"
) -> bytes:
    return download_file(repo, name, "main", work, patience).read_bytes()


def failure(function: Callable[..., Any], *args: Any, **options: Any) -> str:
    """The message with which a function fails."""
    with pytest.raises(HubError) as caught:
        function(*args, **options)
    return str(caught.value)


def fetch_all(work: Path) -> list[str]:
    snapshot = find_snapshot("someone/teacher", "model", "main", BRISK)
    download(snapshot, snapshot.files, work, BRISK)
    return sorted(snapshot.files)


def test_branches_and_tags_are_resolved_to_commits(hub: Hub, model: Repo) -> None:
    old = model.refs["main"]
    model.refs["v1"] = old
    new = model.push({**FILES, "config.json": b"{}"})
    revisions = ("main", "v1", old)
    assert [resolve_revision("someone/teacher", "model", name, BRISK) for name in revisions] == [new, old, old]


def test_a_file_comes_as_it_is_and_only_once(hub: Hub, model: Repo, tmp_path: Path) -> None:
    assert fetch(tmp_path) == LARGE
    assert fetch(tmp_path) == LARGE
    assert len(hub.seen("/model.safetensors?")) == 1


def test_files_of_a_paged_tree_are_all_found(hub: Hub, tmp_path: Path) -> None:
    hub.page_size = 2
    hub.model("someone/teacher", {f"folder/{i}.json": b"%d" % i for i in range(7)})
    assert fetch_all(tmp_path) == [f"folder/{i}.json" for i in range(7)]
    assert (tmp_path / "folder/6.json").read_bytes() == b"6"


@pytest.mark.parametrize(
    ("repo", "revision", "name", "message"),
    [
        ("someone/nothing", "main", "config.json", "/someone/nothing: there is no such model, or it is private"),
        ("someone/teacher", "v9", "config.json", "/someone/teacher has no revision 'v9'"),
        ("someone/teacher", "main", "confg.json", "has no file confg.json at commit"),
        ("no name at all", "main", "config.json", "'no name at all' is not a repository name"),
    ],
)
def test_what_is_missing_is_named(
    model: Repo, tmp_path: Path, repo: str, revision: str, name: str, message: str
) -> None:
    assert message in failure(download_file, repo, name, revision, tmp_path, BRISK)


@pytest.mark.parametrize("status", [400, 404, 410, 416, 520])
def test_an_odd_answer_is_not_taken_for_a_missing_file(hub: Hub, model: Repo, tmp_path: Path, status: int) -> None:
    hub.fail("/tree/", status=status)
    error = failure(fetch_all, tmp_path)
    assert f"{hub.endpoint} answers {status} for /api/models/someone/teacher/tree/" in error


def test_a_missing_file_is_answered_with_names_close_to_it(model: Repo, tmp_path: Path) -> None:
    assert "close to it are config.json" in failure(fetch, tmp_path, "confg.json")


def test_a_gated_model_without_a_token_names_the_page_and_the_variable(hub: Hub, tmp_path: Path) -> None:
    hub.model("someone/gated", FILES, gated=True)
    error = failure(fetch, tmp_path, repo="someone/gated")
    assert f"open {hub.endpoint}/someone/gated, log in and accept the terms" in error
    assert "set HF_TOKEN" in error and f"{hub.endpoint}/settings/tokens" in error


def test_a_gated_model_whose_terms_were_not_accepted_says_whose_access_is_missing(
    hub: Hub, token: str, tmp_path: Path
) -> None:
    hub.model("someone/gated", FILES, gated=True)
    hub.tokens[token] = False
    error = failure(fetch, tmp_path, repo="someone/gated")
    assert "the account of the token in HF_TOKEN has no access yet" in error
    assert f"open {hub.endpoint}/someone/gated" in error


def test_a_gated_model_is_fetched_with_a_token_that_has_access(hub: Hub, token: str, tmp_path: Path) -> None:
    hub.model("someone/gated", FILES, gated=True)
    hub.tokens[token] = True
    assert fetch(tmp_path, repo="someone/gated") == LARGE


def test_an_unknown_token_is_told_from_a_missing_repository(model: Repo, token: str, tmp_path: Path) -> None:
    assert "does not know the token in HF_TOKEN" in failure(fetch, tmp_path)


def test_a_private_model_is_there_for_its_readers_only(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.model("someone/private", FILES, private=True)
    hub.tokens[TOKEN] = True
    assert "there is no such model, or it is private" in failure(fetch, tmp_path, repo="someone/private")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert fetch(tmp_path, repo="someone/private") == LARGE


@pytest.mark.parametrize("access", [None, False, True])
def test_the_token_is_neither_logged_nor_told_nor_sent_elsewhere(
    hub: Hub, token: str, said: io.StringIO, tmp_path: Path, access: bool | None
) -> None:
    hub.model("someone/gated", FILES, gated=True)
    if access is not None:
        hub.tokens[token] = access
    hub.fail("/api/", status=503)
    hub.fail("Signature", cut=1000)
    told = "" if access and fetch(tmp_path, repo="someone/gated") else failure(fetch, tmp_path, repo="someone/gated")
    assert "answers 503" in said.getvalue() and "Request" in said.getvalue(), "nothing is logged, so nothing is proved"
    assert token not in said.getvalue() + told
    assert hub.seen("/api/")[0].authorization == f"Bearer {token}"
    assert len(hub.seen("Signature")) == (2 if access else 0)
    assert all(request.authorization is None for request in hub.seen("Signature"))


def test_a_busy_hub_is_waited_for_as_long_as_it_asks(hub: Hub, model: Repo, said: io.StringIO, tmp_path: Path) -> None:
    hub.fail("/api/models/someone/teacher", status=429, headers={"Retry-After": "1"})
    started = time.monotonic()
    assert fetch(tmp_path) == LARGE
    assert time.monotonic() - started >= 1
    assert f"{hub.endpoint} answers 429 (Too Many Requests); attempt 2 follows in 1 s" in said.getvalue()


@pytest.mark.parametrize("headers", [{"Retry-After": "3600"}, {"RateLimit": '"api";r=0;t=3600'}])
def test_a_wait_beyond_patience_ends_at_once(hub: Hub, model: Repo, tmp_path: Path, headers: dict[str, str]) -> None:
    hub.fail("/api/models/someone/teacher", times=9, status=429, headers=headers)
    error = failure(fetch, tmp_path)
    assert f"{hub.endpoint} answers 429" in error and "asks to wait 3,600 s" in error
    assert len(hub.requests) == 1


@pytest.mark.parametrize("where", ["/api/models/someone/teacher", "/resolve/", "Signature"])
@pytest.mark.parametrize("status", [429, 503])
def test_attempts_are_counted_wherever_the_hub_is_busy(
    hub: Hub, model: Repo, tmp_path: Path, where: str, status: int
) -> None:
    method = "HEAD" if where == "/resolve/" else "GET"
    hub.fail(where, times=2, method=method, status=status)
    assert fetch(tmp_path / "patient") == LARGE
    hub.fail(where, times=99, method=method, status=status)
    before = len(hub.requests)
    error = failure(fetch, tmp_path / "vain")
    assert f"answers {status}" in error and "3 times in a row" in error
    assert len(hub.requests) - before <= BRISK.attempts + 4


@pytest.mark.parametrize("how", ["cut", "reset"])
def test_a_file_that_breaks_off_goes_on_where_it_broke(hub: Hub, tmp_path: Path, how: str) -> None:
    # The client writes, and so resumes, in pieces of 10 MiB.
    piece = constants.DOWNLOAD_CHUNK_SIZE
    content = LARGE * 16
    hub.model("someone/teacher", {"model.safetensors": content})
    hub.fail("Signature", **{how: piece + 300_000})
    assert fetch(tmp_path) == content
    first, second = hub.seen("Signature")
    assert (first.range, second.range) == (None, f"bytes={piece}-")
    assert second.sent == len(content) - piece


def test_a_listing_that_breaks_off_is_asked_for_again(hub: Hub, model: Repo, tmp_path: Path) -> None:
    hub.fail("/tree/", cut=20)
    assert fetch(tmp_path) == LARGE


def test_a_silent_hub_is_given_up(hub: Hub, model: Repo, tmp_path: Path) -> None:
    hub.fail("/api/models/someone/teacher", times=9, wait=2.0)
    started = time.monotonic()
    error = failure(fetch, tmp_path, patience=Patience(attempts=2, first_wait=0.01, timeout=0.3))
    assert "cannot be reached" in error and time.monotonic() - started < 2


def test_a_slow_hub_is_waited_for_as_long_as_something_comes(hub: Hub, model: Repo, tmp_path: Path) -> None:
    hub.fail("Signature", drip=0.2)
    assert fetch(tmp_path, patience=Patience(attempts=1, first_wait=0.01, timeout=1.0)) == LARGE
    assert len(hub.seen("Signature")) == 1


@pytest.mark.parametrize(("name", "where"), [("model.safetensors", "Signature"), ("config.json", "/resolve/")])
def test_a_file_that_is_not_what_the_hub_recorded_is_refused_and_not_kept(
    hub: Hub, model: Repo, tmp_path: Path, name: str, where: str
) -> None:
    hub.fail(where, flip=True)
    error = failure(fetch, tmp_path, name)
    assert f"the content of {name} does not match the hash" in error
    assert not list(tmp_path.rglob(name))
    assert fetch(tmp_path, name) == FILES[name]


def test_files_fetched_before_a_break_are_not_fetched_again(hub: Hub, model: Repo, tmp_path: Path) -> None:
    hub.fail("Signature", times=99, status=503)
    assert "answers 503" in failure(fetch_all, tmp_path)
    hub.heal()
    fetch_all(tmp_path)
    assert not hub.seen("/resolve/") and len(hub.seen("Signature")) == 1


def resolve_alone(**variables: str) -> str:
    """What a fresh process says when it resolves a revision under these variables."""
    code = (
        "from langtailor.sources.hub import resolve_revision\n"
        "from langtailor.sources.hub_client import Patience\n"
        "resolve_revision('someone/teacher', 'model', 'main', Patience(attempts=2, first_wait=0.01))"
    )
    environment = {**os.environ, "PYTHONPATH": "workflow", **variables}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60).stderr


def test_a_hub_that_is_not_there_and_a_client_that_is_offline_say_so(hub: Hub, model: Repo) -> None:
    assert resolve_alone() == ""
    assert "http://127.0.0.1:9 cannot be reached (" in resolve_alone(HF_ENDPOINT="http://127.0.0.1:9")
    assert "HF_HUB_OFFLINE is set; unset it" in resolve_alone(HF_HUB_OFFLINE="1")
