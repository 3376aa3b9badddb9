"""What a loopback Hub holds: repositories with their commits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

LARGE = (".parquet", ".safetensors", ".bin", ".onnx")
Files = Mapping[str, bytes]


@dataclass
class Repo:
    """A repository: its commits, what its branches and tags point to, and who may read it."""

    kind: Literal["model", "dataset"]
    name: str
    gated: bool = False
    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> dict[str, bytes]:
        """The files of its main branch."""
        return self.commits[self.refs["main"]]

    def push(self, files: Files, ref: str = "main") -> str:
        """Add a commit with exactly these files and let ``ref`` point to it."""
        content = "".join(f"{path} {sha256(data)}\n" for path, data in sorted(files.items()))
        commit = hashlib.sha1(f"{self.name}\n{content}".encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.refs[ref] = commit
        return commit


class RefusalError(Exception):
    """An answer that says no."""

    def __init__(self, status: int, code: str | None, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
