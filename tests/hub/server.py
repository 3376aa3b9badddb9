"""A small hub on loopback: what huggingface_hub asks of the real one, and the ways in which a hub can fail."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Repository:
    """A repository: its files, and who may read them."""

    files: dict[str, bytes]
    gated: bool = False


@dataclass
class Fault:
    """What goes wrong with requests whose path holds `where`, `times` times."""

    where: str
    times: int
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    seconds: float = 0.0


class LoopbackHub:
    """Serves repositories on 127.0.0.1 until closed."""

    def __init__(self) -> None:
        self.models: dict[str, Repository] = {}
        self.datasets: dict[str, Repository] = {}
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str, str | None]] = []
        self.token = "hf_secretsecretsecret"
        self.wrong_sha256: set[str] = set()
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def reset(self) -> None:
        for store in (self.models, self.datasets, self.faults, self.requests, self.wrong_sha256):
            store.clear()

    def fetched(self, part: str) -> int:
        """Number of GET requests whose path holds `part`."""
        return sum(method == "GET" and part in path for method, path, _ in self.requests)


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self, body: bytes = b"") -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        self.hub.requests.append((self.command, path, self.headers.get("Range")))
        fault = self._fault(path)
        if fault is not None and fault.seconds:
            time.sleep(fault.seconds)
        if fault is not None and fault.status is not None:
            self._send(fault.status, b"{}", fault.headers)
            return
        if match := re.fullmatch(
            r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(.*))?", path
        ):
            self._api(*match.groups(), body=body, query=parse_qs(url.query), fault=fault)
        elif match := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._file(*match.groups(), fault=fault)
        else:
            self._send(404, b"{}")

    def _fault(self, path: str) -> Fault | None:
        for fault in self.hub.faults:
            if fault.times > 0 and fault.where in path:
                fault.times -= 1
                return fault
        return None

    def _repository(self, kind: str, name: str) -> Repository | None:
        repository = (self.hub.datasets if kind == "datasets" else self.hub.models).get(name)
        if repository is None:
            self._send(401, b"{}", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        return repository

    def _api(self, kind, name, what, revision, folder, *, body, query, fault) -> None:
        repository = self._repository(kind, name)
        if repository is None:
            return
        if revision not in (None, "main", COMMIT):
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            return
        files = [self._entry(path, data) for path, data in sorted(repository.files.items())]
        folders = {str(p) for file in files for p in PurePosixPath(str(file["path"])).parents if str(p) != "."}
        entries = files + [{"type": "directory", "path": path, "size": 0, "oid": COMMIT} for path in sorted(folders)]
        if what == "tree":
            top = folder.strip("/")
            if top and top not in folders:
                self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})
                return
            answer: object = [
                entry
                for entry in entries
                if _is_below(str(entry["path"]), top, "true" in str(query.get("recursive")).lower())
            ]
        elif what == "paths-info":
            wanted = json.loads(body)["paths"] if body.startswith(b"{") else parse_qs(body.decode())["paths"]
            answer = [entry for entry in entries if entry["path"] in wanted]
        else:
            siblings = [{"rfilename": file["path"]} for file in files]
            answer = {"id": name, "sha": COMMIT, "siblings": siblings, "private": False, "tags": [], "downloads": 0}
        cut_after = fault.cut_after if fault is not None else None
        self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"}, cut_after)

    def _entry(self, path: str, data: bytes) -> dict[str, object]:
        entry: dict[str, object] = {"type": "file", "path": path, "size": len(data), "oid": _blob(data)}
        if path.endswith((".safetensors", ".parquet")):
            sha = "0" * 64 if path in self.hub.wrong_sha256 else hashlib.sha256(data).hexdigest()
            entry["lfs"] = {"oid": sha, "size": len(data), "pointerSize": 130}
        return entry

    def _file(self, dataset, name, revision, path, *, fault) -> None:
        repository = self._repository("datasets" if dataset else "models", name)
        if repository is None:
            return
        if repository.gated and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self._send(403, b"{}", {"X-Error-Code": "GatedRepo"})
            return
        if path not in repository.files:
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})
            return
        data = repository.files[path]
        headers = {
            "ETag": f'"{_blob(data)}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
        }
        status = 200
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            start, end = int(match[1]), int(match[2]) if match[2] else len(data) - 1
            headers["Content-Range"] = f"bytes {start}-{min(end, len(data) - 1)}/{len(data)}"
            data, status = data[start : end + 1], 206
        self._send(status, data, headers, cut_after=fault.cut_after if fault is not None else None)

    def _send(
        self, status: int, data: bytes, headers: dict[str, str] | None = None, cut_after: int | None = None
    ) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if cut_after is not None:
            self.wfile.write(data[:cut_after])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(data)


def _is_below(path: str, top: str, recursive: bool) -> bool:
    parents = [str(parent) for parent in PurePosixPath(path).parents]
    return (top or ".") in (parents if recursive else parents[:1])


def _blob(data: bytes) -> str:
    """Git's hash of a file, which the hub records for small files."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
