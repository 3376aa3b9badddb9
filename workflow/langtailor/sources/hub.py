"""Asking the Hub (https://huggingface.co/docs/hub) through its ordinary client, with patience and plain answers.

The client of ``huggingface_hub`` does the work, under its usual variables: ``HF_ENDPOINT``, ``HF_TOKEN``,
``HF_HUB_OFFLINE``, proxies. Added here are the ends: how often and how long to try again, a time limit on every
request, one clear message for each refusal, and the check of what arrived against the hash that the Hub records.
"""

from __future__ import annotations

import difflib
import hashlib
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal

import httpx2
from huggingface_hub import HfApi, constants, hf_hub_download, set_client_factory
from huggingface_hub.errors import FileMetadataError, HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils._http import default_client_factory, hf_request_event_hook, parse_ratelimit_headers
from tqdm import tqdm

from langtailor.errors import HubError
from langtailor.progress import Progress, track
from langtailor.storage.artifacts import sha256_file

Kind = Literal["model", "dataset"]

_LOG = logging.getLogger("langtailor")
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_TRANSIENT = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError, httpx2.ProxyError)
_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Patience:
    """How long to put up with a Hub that is busy or out of reach.

    Attributes:
        attempts: how often one request is tried in all.
        first_wait: seconds before the second attempt; doubled for each further one.
        longest_wait: seconds that one wait may last; a Hub that asks for more is not waited for.
        timeout: seconds without a byte after which a connection counts as broken.
    """

    attempts: int = 5
    first_wait: float = 1.0
    longest_wait: float = 300.0
    timeout: float = 30.0

    def wait(self, attempt: int) -> float:
        """Seconds to wait after this attempt (counted from 1) where the Hub does not say."""
        return float(min(self.first_wait * 2 ** (attempt - 1), self.longest_wait))


PATIENCE = Patience()


@dataclass(frozen=True)
class Repository:
    """A repository of the Hub at a revision.

    Attributes:
        name: ``owner/name``.
        kind: ``model`` or ``dataset``.
        revision: branch, tag or commit.
    """

    name: str
    kind: Kind
    revision: str

    @property
    def page(self) -> str:
        """Address of its page, for people."""
        folder = "datasets/" if self.kind == "dataset" else ""
        return f"{constants.ENDPOINT}/{folder}{self.name}"


@dataclass(frozen=True)
class Snapshot:
    """The files of a repository at one commit.

    Attributes:
        repository: the repository; its revision is the commit.
        files: what the Hub records of each file (path, size, hash), by path.
    """

    repository: Repository
    files: dict[str, RepoFile]


@contextmanager
def hub_session(repository: Repository, patience: Patience = PATIENCE) -> Iterator[None]:
    """Everything that the body asks of the Hub, also through ``datasets`` or ``HfFileSystem``, is about ``repository``.

    The body must not open another session.

    Raises:
        HubError: instead of whatever the client raises.
    """

    def patient_client() -> httpx2.Client:
        hooks = {"request": [hf_request_event_hook]}
        return _PatientClient(repository, patience, event_hooks=hooks, follow_redirects=True)

    set_client_factory(patient_client)
    try:
        yield
    except (HfHubHTTPError, HFValidationError, FileMetadataError, OfflineModeIsEnabled, httpx2.HTTPError) as error:
        raise HubError(_explain(repository, error)) from error
    except OSError as error:
        # Those of the operating system (a full disk) carry a number; the client's own do not.
        if error.errno is not None:
            raise
        raise HubError(_explain(repository, error)) from error
    finally:
        set_client_factory(default_client_factory)


def resolve_revision(repo: str, kind: Kind, revision: str, patience: Patience = PATIENCE) -> str:
    """The commit (40 hexadecimal digits) that a branch or tag stands for now.

    Args:
        repo: ``owner/name``.
        kind: ``model`` or ``dataset``.
        revision: branch, tag or commit.
        patience: how long to try.

    Raises:
        HubError: the repository or the revision does not exist, access is refused, or the Hub cannot be reached.
    """
    with hub_session(Repository(repo, kind, revision), patience):
        return str(HfApi().repo_info(repo, repo_type=kind, revision=revision).sha)


def find_snapshot(repo: str, kind: Kind, revision: str, patience: Patience = PATIENCE) -> Snapshot:
    """Resolve a revision and list the files of its commit. Arguments and errors as for :func:`resolve_revision`."""
    pinned = Repository(repo, kind, resolve_revision(repo, kind, revision, patience))
    with hub_session(pinned, patience):
        tree = HfApi().list_repo_tree(repo, recursive=True, revision=pinned.revision, repo_type=kind)
        return Snapshot(pinned, {entry.path: entry for entry in tree if isinstance(entry, RepoFile)})


def download(snapshot: Snapshot, names: Iterable[str], folder: Path, patience: Patience = PATIENCE) -> None:
    """Bring files of a snapshot into a folder, each under its path in the repository.

    A file that is cut off goes on where it broke; called again after a break, only missing files are fetched.

    Args:
        snapshot: where the files come from.
        names: paths in the repository.
        folder: kept between attempts; only for this snapshot.
        patience: how long to try.

    Raises:
        HubError: a file does not exist, does not match its recorded hash, or cannot be fetched.
    """
    repository = snapshot.repository
    with hub_session(repository, patience):
        for name in track(list(names), f"fetching {repository.name}", unit="file"):
            if name not in snapshot.files:
                raise HubError(_no_file(snapshot, name))
            path = _fetch(repository, name, folder)
            if not _matches(path, snapshot.files[name]):
                path.unlink()
                raise HubError(
                    f"{repository.page}: the content of {name} does not match the hash that the Hub records for commit "
                    f"{repository.revision}. It was deleted; run again, and if this comes back, something between here "
                    "and the Hub (a proxy, a mirror) changes files"
                )


def download_file(repo: str, name: str, revision: str, work: Path, patience: Patience = PATIENCE) -> Path:
    """Bring one file of a model under ``work`` and return where it lies.

    Args:
        repo: ``owner/name``.
        name: path in the repository.
        revision: branch, tag or commit.
        work: folder for downloads, kept between attempts.
        patience: how long to try.

    Raises:
        HubError: as for :func:`resolve_revision` and :func:`download`.
    """
    snapshot = find_snapshot(repo, "model", revision, patience)
    folder = work / repo.replace("/", "--") / snapshot.repository.revision
    download(snapshot, [name], folder, patience)
    return folder / name


class _PatientClient(httpx2.Client):
    """The Hub's client with a time limit on each request, repeated while the Hub is busy, plain about refusals.

    The client's own repetitions never come into play: it only sees answers that are final.
    """

    def __init__(self, repository: Repository, patience: Patience, **options: Any) -> None:
        super().__init__(**options)
        self._repository, self._patience = repository, patience

    def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        limits = request.extensions.get("timeout", {})
        bounded = {key: limits.get(key) or self._patience.timeout for key in ("connect", "read", "write", "pool")}
        request.extensions = {**request.extensions, "timeout": bounded}
        failure = ""
        for attempt in range(1, self._patience.attempts + 1):
            try:
                response = super().send(request, stream=stream, **options)
            except _TRANSIENT as error:
                asked, failure = None, f"cannot be reached ({_reason(error)})"
            else:
                if response.status_code not in _BUSY:
                    return self._final(request, response, stream)
                asked, failure = _asked_wait(response), f"answers {response.status_code} ({response.reason_phrase})"
                response.close()
            if asked is not None and asked > self._patience.longest_wait:
                raise HubError(f"{_place(request)} {failure} and asks to wait {asked:,.0f} s; run again after that")
            if attempt < self._patience.attempts:
                wait = self._patience.wait(attempt) if asked is None else asked
                _LOG.warning("%s %s; attempt %d follows in %.0f s", _place(request), failure, attempt + 1, wait)
                time.sleep(wait)
        raise HubError(
            f"{_place(request)} {failure}, {self._patience.attempts} times in a row. Run again later: what was fetched "
            "is kept. If it cannot be reached, check network, proxy and HF_ENDPOINT; if it is busy, set HF_TOKEN: with "
            "a token the Hub allows more requests"
        )

    def _final(self, request: httpx2.Request, response: httpx2.Response, stream: bool) -> httpx2.Response:
        if refusal := _refusal(self._repository, response):
            response.close()
            raise HubError(refusal)
        if stream:
            response.stream = _ResumableBody(response.stream)
        elif "range" in request.headers and response.status_code == httpx2.codes.OK:
            response.close()
            raise HubError(f"{_place(request)} sends a whole file for a part of it; use another HF_ENDPOINT or proxy")
        return response


class _ResumableBody(httpx2.SyncByteStream):
    """A body whose reset counts as a cut: the client resumes after a cut, but not after a reset."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._body
        except httpx2.NetworkError as error:
            raise httpx2.RemoteProtocolError(_reason(error)) from error

    def close(self) -> None:
        self._body.close()


class _ProgressLines(tqdm):  # type: ignore[misc]
    """The client's progress bar, told in our log lines."""

    def __init__(self, *_: Any, desc: str = "", total: int | None = None, initial: int = 0, **__: Any) -> None:
        super().__init__(disable=True, total=total, initial=initial)
        self._bytes = initial
        self._lines = Progress(desc, None if total is None else total // _MEGABYTE, "megabyte")

    def update(self, n: float | None = 1) -> None:
        self._bytes += int(n or 0)
        self._lines.update(self._bytes // _MEGABYTE - self._lines.done)


def _fetch(repository: Repository, name: str, folder: Path) -> Path:
    try:
        found = hf_hub_download(
            repository.name,
            name,
            repo_type=repository.kind,
            revision=repository.revision,
            local_dir=folder,
            tqdm_class=_ProgressLines,
        )
    except RuntimeError as error:
        # What the native downloader (hf_xet) raises for every trouble on its way.
        raise HubError(
            f"{repository.page}: {name} cannot be fetched: {error}. Run again, or set HF_HUB_DISABLE_XET=1 to fetch it "
            "by plain HTTP"
        ) from error
    return Path(found)


def _matches(path: Path, recorded: RepoFile) -> bool:
    """Whether a file has the hash that the Hub records: SHA-256 of large files, git's blob hash of others."""
    if recorded.lfs is not None:
        return sha256_file(path) == recorded.lfs.sha256
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == recorded.blob_id


def _asked_wait(response: httpx2.Response) -> float | None:
    """Seconds that the Hub asks to wait, from ``Retry-After`` (RFC 9110, 10.2.3) or its rate limit headers."""
    value = response.headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    if value:
        try:
            return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
        except (TypeError, ValueError):
            return None
    limit = parse_ratelimit_headers(response.headers)
    return float(limit.reset_in_seconds) if limit is not None and not limit.remaining else None


def _refusal(repository: Repository, response: httpx2.Response) -> str | None:
    """What to tell the user of a final refusal; ``None`` for other answers, a missing file among them."""
    code, status = response.headers.get("x-error-code"), response.status_code
    said = response.headers.get("x-error-message", "")
    if code == "GatedRepo":
        return _gated(repository, "authorization" in response.request.headers)
    if status == httpx2.codes.UNAUTHORIZED and "credentials" in said.lower():
        return f"the Hub does not know the token in HF_TOKEN; make a new one at {constants.ENDPOINT}/settings/tokens"
    if code == "RepoNotFound" or (status == httpx2.codes.UNAUTHORIZED and code is None):
        return (
            f"{repository.page}: there is no such {repository.kind}, or it is private. Check the spelling; for a "
            "private one set HF_TOKEN to a token of an account that may read it"
        )
    if code == "RevisionNotFound":
        return f"{repository.page} has no revision {repository.revision!r}; give a branch, a tag or a whole commit"
    if status == httpx2.codes.FORBIDDEN:
        return f"{_place(response.request)} refuses access to {repository.page} (403{': ' if said else ''}{said})"
    if response.is_error and code != "EntryNotFound":
        # The client takes some of these for "there is no such file", and would go on without it.
        return (
            f"{_place(response.request)} answers {status} for {response.request.url.path}{': ' if said else ''}{said}"
        )
    return None


def _gated(repository: Repository, authenticated: bool) -> str:
    if authenticated:
        return (
            f"{repository.name} is gated, and the account of the token in HF_TOKEN has no access yet: open "
            f"{repository.page}, log in with that account, accept the terms (or wait until the owner agrees) and run "
            "again. A fine-grained token must also be allowed to read gated repositories"
        )
    return (
        f"{repository.name} is gated: open {repository.page}, log in and accept the terms, make a token that may read "
        f"at {constants.ENDPOINT}/settings/tokens, set HF_TOKEN to it and run again"
    )


def _no_file(snapshot: Snapshot, name: str) -> str:
    close = difflib.get_close_matches(name, snapshot.files, n=3)
    hint = f"; close to it are {', '.join(close)}" if close else ""
    return f"{snapshot.repository.page} has no file {name} at commit {snapshot.repository.revision}{hint}"


def _explain(repository: Repository, error: Exception) -> str:
    if isinstance(error, OfflineModeIsEnabled):
        return f"{repository.page} is needed, but HF_HUB_OFFLINE is set; unset it, or name a local folder instead"
    if isinstance(error, HFValidationError):
        return f"{repository.name!r} is no repository name of the Hub, which is written owner/name"
    return f"{repository.page}: fetching broke off: {_reason(error)}. Run again: what was fetched is kept"


def _reason(error: Exception) -> str:
    """The first line of what an error says, or its type where it says nothing."""
    lines = str(error).splitlines()
    return lines[0] if lines and lines[0].strip() else type(error).__name__


def _place(request: httpx2.Request) -> str:
    """Where a request went. Not the whole address: that of a redirect may hold a signature."""
    return f"{request.url.scheme}://{request.url.netloc.decode()}"
