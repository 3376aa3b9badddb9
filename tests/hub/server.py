"""A small Hub on the loopback interface: real requests and answers, and every fault on demand.

It speaks what ``huggingface_hub`` and ``datasets`` ask: repository information, file trees in pages, files by
``resolve`` with ranges, and commits (:mod:`tests.hub.uploads`). Large files are served and taken, as by the real one, by a
second server (another origin) with a signed address.
"""

from __future__ import annotations

import base64
import json
import socket
import struct
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.hub.repository import LARGE, Files, RefusalError, Repo, git_hash, sha256
from tests.hub.uploads import Uploads, json_lines


@dataclass
class Fault:
    """What goes wrong, for the next ``times`` requests whose path contains ``where``.

    ``status`` answers so; ``cut`` closes and ``reset`` resets the connection after so many bytes of the body; ``wait``
    waits so many seconds first; ``drip`` sends the body in eight pieces with so many seconds before each; ``flip`` changes
    the content; ``whole`` ignores the range that was asked for; ``drop`` resets the connection after so many bytes of what is
    sent to it; ``lose`` resets it in place of the answer to what was done.
    """

    where: str
    times: int = 1
    method: str = "GET"
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    reset: int | None = None
    wait: float = 0.0
    drip: float = 0.0
    flip: bool = False
    whole: bool = False
    drop: int | None = None
    lose: bool = False


@dataclass(frozen=True)
class Request:
    """A request that came, and the bytes of body that were sent for it."""

    method: str
    path: str
    range: str | None
    authorization: str | None
    status: int
    sent: int


class Hub:
    """The two servers and what they hold. They end with the process.

    Attributes:
        uploads: what was written, and who may write.
        tokens: which tokens are known, and whether their accounts have access to gated repositories.
        requests: all requests, in the order of their answers.
        page_size: entries in one page of a file tree.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.uploads = Uploads()
        self.tokens: dict[str, bool] = {}
        self.page_size = 100
        self.requests: list[Request] = []
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._servers = [self._serve(_HubHandler), self._serve(_StoreHandler)]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._servers[0].server_port}"

    @property
    def store(self) -> str:
        return f"http://127.0.0.1:{self._servers[1].server_port}"

    def model(self, name: str, files: Files, **options: Any) -> Repo:
        return self._add(Repo("model", name, **options), files)

    def dataset(self, name: str, files: Files, **options: Any) -> Repo:
        return self._add(Repo("dataset", name, **options), files)

    def fail(self, where: str, **options: Any) -> None:
        with self._lock:
            self._faults.append(Fault(where, **options))

    def heal(self) -> None:
        """Let nothing go wrong any more, and forget what was asked."""
        with self._lock:
            self._faults.clear()
            self.requests.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.heal()
        self.repos.clear()
        self.uploads.clear()
        self.tokens.clear()
        self.page_size = 100

    def seen(self, part: str, method: str = "GET") -> list[Request]:
        """Requests whose path contains ``part``."""
        return [request for request in self.requests if part in request.path and request.method == method]

    def sent(self, part: str = "") -> int:
        """Bytes of body sent for them."""
        return sum(request.sent for request in self.seen(part))

    def take_fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.times and fault.method == method and fault.where in path:
                    fault.times -= 1
                    return fault
        return None

    def note(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)

    def _add(self, repo: Repo, files: Files) -> Repo:
        repo.push(files)
        self.repos[f"{repo.kind}s/{repo.name}"] = repo
        return repo

    def _serve(self, handler: type[_Handler]) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type(handler.__name__, (handler,), {"hub": self}))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return server


class _Handler(BaseHTTPRequestHandler):
    """Faults, ranges and the log; what is served is the subclasses' affair."""

    hub: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits for the client's delayed acknowledgement

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.fault = self.hub.take_fault(self.command, self.path)
        length = int(self.headers.get("Content-Length") or 0)
        if self.fault is not None and self.fault.drop is not None:
            self.rfile.read(min(length, self.fault.drop))
            self.break_off(reset=True)
            return
        self.body = self.rfile.read(length)
        if self.fault is not None:
            time.sleep(self.fault.wait)
            if self.fault.status is not None:
                self.answer(self.fault.status, b"", dict(self.fault.headers))
                return
        try:
            self.serve()
        except RefusalError as refusal:
            headers = {"X-Error-Message": str(refusal)} | ({"X-Error-Code": refusal.code} if refusal.code else {})
            self.answer(refusal.status, json.dumps({"error": str(refusal)}).encode(), headers)

    def handle(self) -> None:
        # A client may go away at any moment.
        with suppress(ConnectionError):
            super().handle()

    def serve(self) -> None:
        raise NotImplementedError

    def answer_file(self, data: bytes, headers: Mapping[str, str]) -> None:
        asked = self.headers.get("Range")
        if self.fault is not None and self.fault.flip:
            data = bytes([data[0] ^ 1]) + data[1:]
        if asked is None or (self.fault is not None and self.fault.whole):
            self.answer(200, data, {**headers, "Accept-Ranges": "bytes"})
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last or len(data) - 1), len(data) - 1)
        self.answer(206, data[start : end + 1], {**headers, "Content-Range": f"bytes {start}-{end}/{len(data)}"})

    def answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        # Noted first, so that a client that has its answer finds it in the log.
        if self.fault is not None and self.fault.lose:
            self.break_off(reset=True)
            return
        stop = None if self.fault is None else self.fault.cut if self.fault.cut is not None else self.fault.reset
        sent = b"" if self.command == "HEAD" else body if stop is None else body[:stop]
        fields = (self.headers.get("Range"), self.headers.get("Authorization"))
        self.hub.note(Request(self.command, unquote(self.path), *fields, status, len(sent)))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.send(sent)
        if stop is not None:
            self.wfile.flush()
            self.break_off(reset=self.fault is not None and self.fault.reset is not None)

    def send(self, body: bytes) -> None:
        pause = 0.0 if self.fault is None else self.fault.drip
        size = -(-len(body) // 8) if pause and body else len(body)
        for start in range(0, len(body), max(size, 1)):
            time.sleep(pause)
            self.wfile.write(body[start : start + size])
            self.wfile.flush()

    def break_off(self, reset: bool) -> None:
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            time.sleep(0.2)  # what was sent must arrive before the reset does
        self.connection.close() if reset else self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """The log is :attr:`Hub.requests`."""


class _StoreHandler(_Handler):
    """Large files by their hash, for whoever has a signed address."""

    def serve(self) -> None:
        wanted = urlsplit(self.path).path.strip("/").partition("/")[0]
        if self.command == "PUT":
            self.hub.uploads.keep(wanted, self.body)
            self.answer(200, b"", {})
            return
        for repo in self.hub.repos.values():
            for files in repo.commits.values():
                for data in files.values():
                    if sha256(data) == wanted:
                        self.answer_file(data, {"ETag": f'"{wanted}"'})
                        return
        raise RefusalError(404, None, "no such object")


class _HubHandler(_Handler):
    """The Hub itself."""

    def serve(self) -> None:
        address = urlsplit(self.path)
        parts = [unquote(part) for part in address.path.strip("/").split("/")]
        if parts == ["api", "validate-yaml"]:
            problem = self.hub.uploads.refused_card
            body = {"errors": [{"message": problem}] if problem else [], "warnings": []}
            self.answer(400 if problem else 200, json.dumps(body).encode(), {"Content-Type": "application/json"})
            return
        if self.command == "POST":
            self.answer_json(self.written(parts))
            return
        if parts[0] == "api":
            repo, rest = self.repo(f"{parts[1]}/{parts[2]}/{parts[3]}"), parts[4:]
            if not rest or rest[0] == "revision":
                commit = self.commit(repo, rest[1] if rest else "main")
                self.answer_json(self.information(repo, commit))
            elif rest[0] == "tree":
                self.answer_tree(repo, self.commit(repo, rest[1]), "/".join(rest[2:]), parse_qs(address.query))
            else:
                raise RefusalError(404, None, f"no such route: {self.path}")
            return
        kind = "datasets" if parts[0] == "datasets" else "models"
        owner, name, route, revision, *path = parts[1:] if kind == "datasets" else parts
        assert route == "resolve"
        self.resolve(self.repo(f"{kind}/{owner}/{name}"), revision, "/".join(path))

    def written(self, parts: list[str]) -> dict[str, Any]:
        """The answer to a request that writes."""
        uploads = self.hub.uploads
        if parts == ["api", "repos", "create"]:
            asked = json.loads(self.body)
            uploads.require_right(self.token, f"{asked['organization']}/{asked['name']}")
            return uploads.create(self.hub.repos, asked)
        if parts[-4:] == ["info", "lfs", "objects", "batch"]:
            uploads.require_right(self.token, f"{parts[-6]}/{parts[-5].removesuffix('.git')}")
            return uploads.batch(self.hub.store, json.loads(self.body))
        _, kinds, owner, name, route, branch = parts
        repo = self.repo(f"{kinds}/{owner}/{name}")
        uploads.require_right(self.token, repo.name)
        if route == "preupload":
            return uploads.preupload(repo.commits[self.commit(repo, branch)], json.loads(self.body))
        assert route == "commit"
        commit = uploads.commit(repo, branch, json_lines(self.body))
        return {"commitUrl": f"{self.hub.endpoint}/{repo.name}/commit/{commit}", "commitOid": commit}

    @property
    def token(self) -> str:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token and token not in self.hub.tokens:
            raise RefusalError(401, None, "Invalid credentials in Authorization header")
        return token

    def repo(self, key: str) -> Repo:
        token, repo = self.token, self.hub.repos.get(key)
        if repo is None or (repo.private and not token):
            raise RefusalError(404 if token else 401, "RepoNotFound", "Repository not found")
        return repo

    def commit(self, repo: Repo, revision: str) -> str:
        commit = repo.refs.get(revision, revision)
        if commit not in repo.commits:
            raise RefusalError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    def resolve(self, repo: Repo, revision: str, path: str) -> None:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if repo.gated and not self.hub.tokens.get(token, False):
            message = f"Access to {repo.kind} {repo.name} is restricted."
            raise RefusalError(403 if token else 401, "GatedRepo", message)
        commit = self.commit(repo, revision)
        data = repo.commits[commit].get(path)
        if data is None:
            raise RefusalError(404, "EntryNotFound", "Entry not found")
        headers = {"X-Repo-Commit": commit}
        if not path.endswith(LARGE):
            self.answer_file(data, {**headers, "ETag": f'"{git_hash(data)}"'})
            return
        location = f"{self.hub.store}/{sha256(data)}/{quote(path)}?Signature=secret"
        linked = {"X-Linked-Etag": f'"{sha256(data)}"', "X-Linked-Size": str(len(data))}
        self.answer(302, b"", {**headers, **linked, "Location": location})

    def information(self, repo: Repo, commit: str) -> dict[str, Any]:
        return {
            "_id": "0",
            "id": repo.name,
            "sha": commit,
            "private": repo.private,
            "gated": "manual" if repo.gated else False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "siblings": [{"rfilename": path} for path in sorted(repo.commits[commit])],
        }

    def answer_tree(self, repo: Repo, commit: str, folder: str, query: dict[str, list[str]]) -> None:
        recursive = query.get("recursive", ["false"])[0].lower() in ("true", "1")
        entries = list(_tree(repo.commits[commit], folder, recursive))
        if not entries:
            raise RefusalError(404, "EntryNotFound", f"{folder} does not exist")
        start = int(base64.b64decode(query.get("cursor", ["MA=="])[0]))
        page, headers = entries[start : start + self.hub.page_size], {}
        if start + self.hub.page_size < len(entries):
            cursor = base64.b64encode(str(start + self.hub.page_size).encode()).decode()
            address = f"{self.hub.endpoint}{urlsplit(self.path).path}?recursive={recursive}&cursor={quote(cursor)}"
            headers["Link"] = f'<{address}>; rel="next"'
        self.answer_json(page, headers)

    def answer_json(self, value: Any, headers: Mapping[str, str] | None = None) -> None:
        self.answer(200, json.dumps(value).encode(), {**(headers or {}), "Content-Type": "application/json"})


def _tree(files: Files, folder: str, recursive: bool) -> Iterable[dict[str, Any]]:
    prefix = f"{folder}/" if folder else ""
    below = [path for path in sorted(files) if path.startswith(prefix)]
    seen: set[str] = set()
    for path in below:
        parts = path.removeprefix(prefix).split("/")
        for depth in range(1, len(parts) if recursive else min(len(parts), 2)):
            parent = prefix + "/".join(parts[:depth])
            if parent not in seen:
                seen.add(parent)
                yield {"type": "directory", "path": parent, "oid": git_hash(parent.encode()), "size": 0}
        if recursive or len(parts) == 1:
            yield _entry(path, files[path])


def _entry(path: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "oid": git_hash(data), "size": len(data)}
    if path.endswith(LARGE):
        entry["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 134}
    return entry
