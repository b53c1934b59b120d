"""The Hub on this machine: what huggingface_hub asks for when it loads, lists and pushes."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class FakeHub:
    """Repositories as commits of files.

    Attributes:
        repositories: "owner/name" → commits, the oldest first; each is path → content.
        address: where it listens.
        asked: every request, as "METHOD path".
        damaged: paths that arrive with a wrong byte.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, list[dict[str, bytes]]] = {}
        self.address = ""
        self.asked: list[str] = []
        self.damaged: set[str] = set()

    def commit(self, repository: str, number: int = -1) -> str:
        count = len(self.repositories[repository])
        return hashlib.sha1(f"{repository}{number % max(count, 1)}".encode()).hexdigest()

    def files(self, repository: str, revision: str) -> dict[str, bytes] | None:
        commits = self.repositories.get(repository)
        if not commits:
            return None
        if revision == "main":
            return commits[-1]
        if revision.startswith("v") and int(revision[1:]) <= len(commits):
            return commits[int(revision[1:]) - 1]
        names = [self.commit(repository, n) for n in range(len(commits))]
        return commits[names.index(revision)] if revision in names else None


@contextmanager
def running_hub() -> Iterator[FakeHub]:
    """A fake of the Hub that listens on the loopback interface."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def _json(self, content: Any) -> None:
            self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

        def _missing(self, code: str) -> None:
            self._send(404, b"", {"X-Error-Code": code, "X-Error-Message": "not found"})

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.asked.append(f"{self.command} {path}")
            if path == "/api/models":
                self._json([self._info(name) for name in hub.repositories])
                return
            if path.startswith("/api/models/"):
                repository = "/".join(path.split("/")[3:5])
                if repository in hub.repositories:
                    self._json(self._info(repository))
                else:
                    self._missing("RepoNotFound")
                return
            _, owner, name, _, revision, *rest = path.split("/")
            files = hub.files(f"{owner}/{name}", revision)
            if files is None:
                self._missing(
                    "RevisionNotFound" if f"{owner}/{name}" in hub.repositories else "RepoNotFound"
                )
                return
            if "/".join(rest) not in files:
                self._missing("EntryNotFound")
                return
            content = files["/".join(rest)]
            number = hub.repositories[f"{owner}/{name}"].index(files)
            headers = {
                "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
                "X-Repo-Commit": hub.commit(f"{owner}/{name}", number),
            }
            if "/".join(rest) in hub.damaged:
                content = content[:-1] + bytes([content[-1] ^ 1])
            self._send(200, content, headers)

        do_HEAD = do_GET  # noqa: N815

        def _info(self, name: str) -> dict[str, Any]:
            return {
                "id": name, "modelId": name, "sha": hub.commit(name), "downloads": 7,
                "private": False, "tags": [], "siblings": [],
            }  # fmt: skip

        def do_POST(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.asked.append(f"POST {path}")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if not self.headers.get("Authorization"):
                self._send(401, b"", {"X-Error-Message": "no token"})
                return
            if path == "/api/repos/create":
                asked = json.loads(body)
                name = f"{asked.get('organization') or 'me'}/{asked['name']}"
                hub.repositories.setdefault(name, [])
                self._json({"url": f"{hub.address}/{name}", "name": name, "id": name})
                return
            if path == "/api/validate-yaml":
                self._json({"errors": [], "warnings": []})
                return
            name = "/".join(path.split("/")[3:5])
            if "/preupload/" in path:
                asked = json.loads(body)["files"]
                modes = [
                    {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for one in asked
                ]
                self._json({"files": modes})
                return
            files = {}
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            hub.repositories[name].append(files)
            url = f"{hub.address}/{name}/commit/{hub.commit(name)}"
            self._json({"success": True, "commitOid": hub.commit(name), "commitUrl": url})

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
