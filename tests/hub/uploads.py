"""The write side of a loopback Hub: repositories are made, large files stored by their hash, and commits name them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.hub.repository import LARGE, RefusalError, Repo, git_hash, sha256

Json = dict[str, Any]


@dataclass
class Uploads:
    """What was uploaded, and who may do so.

    Attributes:
        writers: names (``owner``, or a whole ``owner/name``) that a token may write to.
        objects: large files by SHA-256.
        commits: message and paths of each commit that was made, with those deleted after a ``-``.
        refused_card: what is wrong with each card, if anything.
    """

    writers: dict[str, set[str]] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    commits: list[tuple[str, list[str]]] = field(default_factory=list)
    refused_card: str | None = None

    def clear(self) -> None:
        """Forget everything."""
        self.writers.clear(), self.objects.clear(), self.commits.clear()
        self.refused_card = None

    def require_right(self, token: str, name: str) -> None:
        """Refuse a token that may not write to a repository."""
        if not self.writers.get(token, set()) & {name, name.partition("/")[0]}:
            raise RefusalError(403, None, f"You don't have the rights to write to {name}")

    def create(self, repos: dict[str, Repo], asked: Json) -> Json:
        """Make a repository, with the first commit that the real one makes, too."""
        kind, name = asked.get("type", "model"), f"{asked['organization']}/{asked['name']}"
        key = f"{kind}s/{name}"
        if key in repos:
            raise RefusalError(409, None, "You already created this repo")
        repos[key] = Repo(kind, name, private=asked["visibility"] == "private")
        repos[key].push({".gitattributes": b"*.bin filter=lfs"})
        return {"url": name}

    def preupload(self, files: dict[str, bytes], asked: Json) -> Json:
        """How each file is to be sent."""
        return {"files": [_mode(files, file["path"]) for file in asked["files"]]}

    def batch(self, store: str, asked: Json) -> Json:
        """Where each large file is to be sent; nowhere where it is there already."""
        return {"transfer": "basic", "objects": [self._action(store, one) for one in asked["objects"]]}

    def _action(self, store: str, asked: Json) -> Json:
        there = asked["oid"] in self.objects
        upload = {"upload": {"href": f"{store}/{asked['oid']}?Signature=secret"}}
        return asked if there else {**asked, "actions": upload}

    def keep(self, wanted: str, body: bytes) -> None:
        """Store a large file."""
        if sha256(body) != wanted:
            raise RefusalError(400, None, "BadDigest")
        self.objects[wanted] = body

    def commit(self, repo: Repo, branch: str, lines: Iterable[Json]) -> str:
        """Make a commit upon the parent that it names."""
        header, *changes = lines
        if header["value"].get("parentCommit", repo.refs[branch]) != repo.refs[branch]:
            raise RefusalError(412, None, "A commit has happened since")
        files, paths = dict(repo.commits[repo.refs[branch]]), []
        for change in changes:
            path, value = change["value"]["path"], change["value"]
            paths.append(f"-{path}" if change["key"] == "deletedFile" else path)
            match change["key"]:
                case "file":
                    files[path] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[path] = self.objects[value["oid"]]
                case "deletedFile":
                    del files[path]
        self.commits.append((header["value"]["summary"], paths))
        return repo.push(files, branch)


def json_lines(body: bytes) -> list[Json]:
    """The lines of a commit's body."""
    return [json.loads(line) for line in body.splitlines()]


def _mode(files: dict[str, bytes], path: str) -> Json:
    large = path.endswith(LARGE)
    there = {} if path not in files else {"oid": (sha256 if large else git_hash)(files[path])}
    return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, **there}
