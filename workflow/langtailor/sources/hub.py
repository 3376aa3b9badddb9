"""Files and revisions of the Hub: a branch becomes a commit, and what arrives is what the Hub recorded."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.hf_api import RepoFile
from tqdm import tqdm

from langtailor.errors import HubError
from langtailor.progress import Progress, track
from langtailor.sources.hub_client import PATIENCE, Patience, hub_session
from langtailor.sources.hub_refusals import Kind, Repository
from langtailor.storage.digests import sha256_file

_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Snapshot:
    """The files of a repository at one commit.

    Attributes:
        repository: the repository; its revision is the commit.
        files: what the Hub records of each file (path, size, hash), by path.
    """

    repository: Repository
    files: dict[str, RepoFile]


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

    A file that breaks off is resumed where it broke; called again, only missing files are fetched.

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
            if not matches_record(path, snapshot.files[name]):
                path.unlink()
                raise HubError(
                    f"{repository.page}: the content of {name} does not match the hash that the Hub records for commit "
                    f"{repository.revision}. It was deleted; run again. If this recurs, something between here "
                    "and the Hub (a proxy, a mirror) changes files"
                )


def download_file(repo: str, name: str, revision: str, work: Path, patience: Patience = PATIENCE) -> Path:
    """Download one file of a model under ``work`` and return its path.

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


class _ProgressLines(tqdm):  # type: ignore[misc]
    """The client's progress bar as our log lines."""

    def __init__(self, *_: Any, desc: str = "", total: int | None = None, initial: int = 0, **__: Any) -> None:
        super().__init__(disable=True, total=total, initial=initial)
        self._bytes = initial
        self._lines = Progress(desc, None if total is None else total // _MEGABYTE, "megabyte")

    def update(self, n: float | None = 1) -> None:
        self._bytes += int(n or 0)
        self._lines.update(self._bytes // _MEGABYTE - self._lines.done)


def _fetch(repository: Repository, name: str, folder: Path) -> Path:
    try:
        path = hf_hub_download(
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
    return Path(path)


def matches_record(path: Path, recorded: RepoFile) -> bool:
    """Whether a file has the hash that the Hub records: SHA-256 of large files, git's blob hash of others."""
    if recorded.lfs is not None:
        return sha256_file(path) == recorded.lfs.sha256
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == recorded.blob_id


def _no_file(snapshot: Snapshot, name: str) -> str:
    close = difflib.get_close_matches(name, snapshot.files, n=3)
    hint = f"; close to it are {', '.join(close)}" if close else ""
    return f"{snapshot.repository.page} has no file {name} at commit {snapshot.repository.revision}{hint}"
