"""Writing to the Hub: files become the content of a repository in one commit, or in none where it has them already.

Large files go to the Hub's storage first, each under its own hash: what arrived before a break is not sent again. The commit,
which names them, comes last and is made upon the commit that was compared with, so that it cannot be made twice.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import (
    CommitOperation,
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    constants,
    get_token,
)
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

from langtailor.errors import HubError
from langtailor.sources.hub import Snapshot, download, find_snapshot, matches_record
from langtailor.sources.hub_client import PATIENCE, Patience, hub_session
from langtailor.sources.hub_refusals import Kind, NoRepositoryError, Repository, reason
from langtailor.storage.artifacts import MANIFEST_NAME, Manifest

_LOG = logging.getLogger("langtailor")
_BRANCH = "main"


@dataclass(frozen=True)
class Target:
    """A repository to write to.

    Attributes:
        name: ``owner/name``.
        kind: ``model`` or ``dataset``.
        private: make it so that only its owner sees it, and refuse one that others see.
    """

    name: str
    kind: Kind
    private: bool

    @property
    def repository(self) -> Repository:
        """The branch that is written to."""
        return Repository(self.name, self.kind, _BRANCH)


@dataclass(frozen=True)
class Commit:
    """What a repository holds after an upload.

    Attributes:
        revision: the commit (40 hexadecimal digits).
        page: address of the repository.
    """

    revision: str
    page: str


def upload(files: Mapping[str, Path], target: Target, message: str, patience: Patience = PATIENCE) -> Commit:
    """Let a repository hold some files; it is made where there is none.

    Files that an earlier upload put there, as its ``manifest.json`` lists them, and that are not among these are deleted.
    Whatever else is in the repository stays.

    Args:
        files: local file by path in the repository, ``manifest.json`` among them.
        target: the repository.
        message: of the commit.
        patience: how long to try.

    Raises:
        HubError: no token or one that may not write, a repository that others see where it shall be private, one of
            another kind, or the Hub refuses, breaks off or cannot be reached.
    """
    repository = target.repository
    _require_token(repository)
    snapshot = _existing(target, patience) or _create(target, patience)
    operations = [*_additions(files, snapshot), *_deletions(files, snapshot, patience)]
    if not operations:
        _LOG.info("%s has all %d files already: nothing to commit", repository.page, len(files))
        return Commit(snapshot.repository.revision, repository.page)
    _LOG.info("uploading %d of %d files to %s", len(operations), len(files), repository.page)
    with _upload_session(repository, patience):
        made = HfApi().create_commit(
            target.name,
            operations,
            commit_message=message,
            repo_type=target.kind,
            parent_commit=snapshot.repository.revision,
        )
    _LOG.info("%s is at commit %s", repository.page, made.oid)
    return Commit(made.oid, repository.page)


def _require_token(repository: Repository) -> None:
    if get_token() is None:
        raise HubError(
            f"{repository.page} cannot be written without a token: make one that may write at "
            f"{constants.ENDPOINT}/settings/tokens and set HF_TOKEN to it"
        )


def _existing(target: Target, patience: Patience) -> Snapshot | None:
    """What the repository holds, if there is one."""
    try:
        with hub_session(target.repository, patience):
            is_private = HfApi().repo_info(target.name, repo_type=target.kind).private
    except NoRepositoryError:
        return None
    if target.private and not is_private:
        raise HubError(
            f"{target.repository.page} exists and is public, but `publish.private` is true: make it private on its page, "
            "set `publish.private: false`, or name another repository"
        )
    return find_snapshot(target.name, target.kind, _BRANCH, patience)


def _create(target: Target, patience: Patience) -> Snapshot:
    """Make the repository, unless its name is that of one of the other kind: whoever reads it would not know which is meant."""
    other: Kind = "dataset" if target.kind == "model" else "model"
    try:
        with hub_session(Repository(target.name, other, _BRANCH), patience):
            HfApi().repo_info(target.name, repo_type=other)
    except NoRepositoryError:
        pass
    else:
        raise HubError(f"{target.name} is a {other} on the Hub, but a {target.kind} is to be published; name another")
    with hub_session(target.repository, patience):
        HfApi().create_repo(target.name, repo_type=target.kind, private=target.private)
    _LOG.info("made the %s %s repository %s", "private" if target.private else "public", target.kind, target.name)
    return find_snapshot(target.name, target.kind, _BRANCH, patience)


def _additions(files: Mapping[str, Path], snapshot: Snapshot) -> Iterator[CommitOperation]:
    """The files that the repository lacks or has otherwise."""
    for name, path in sorted(files.items()):
        recorded = snapshot.files.get(name)
        if recorded is None or not matches_record(path, recorded):
            yield CommitOperationAdd(name, path)


def _deletions(files: Mapping[str, Path], snapshot: Snapshot, patience: Patience) -> Iterator[CommitOperation]:
    """The files of an earlier upload that are no longer among those to publish."""
    earlier = snapshot.files.keys() & _published_before(snapshot, patience)
    return (CommitOperationDelete(name, is_folder=False) for name in sorted(earlier - files.keys()))


def _published_before(snapshot: Snapshot, patience: Patience) -> set[str]:
    """The files that the repository's manifest lists; none where it has none that can be read."""
    if MANIFEST_NAME not in snapshot.files:
        return set()
    with TemporaryDirectory() as folder:
        download(snapshot, [MANIFEST_NAME], Path(folder), patience)
        try:
            return set(Manifest.from_json((Path(folder) / MANIFEST_NAME).read_text(encoding="utf-8")).files)
        except (ValueError, TypeError):
            return set()


@contextmanager
def _upload_session(repository: Repository, patience: Patience) -> Iterator[None]:
    """A session in which what an upload raises has a plain message; progress bars, which overwrite lines, are off.

    Raises:
        HubError: instead of whatever the client raises.
    """
    had_bars = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        with hub_session(repository, patience):
            yield
    except (RuntimeError, ValueError) as error:
        # What the client wraps the trouble of a single file in, and what the native uploader (hf_xet) raises.
        cause = error.__cause__
        if isinstance(cause, HubError):
            raise cause from error
        said = reason(cause if isinstance(cause, Exception) else error)
        raise HubError(
            f"{repository.page}: the upload was interrupted: {said}. Run again: files that arrived are not sent again, and "
            "nothing was committed"
        ) from error
    finally:
        if had_bars:
            enable_progress_bars()
