"""As much of the Hugging Face hub as downloads need: a real HTTP server over a folder of this disk."""

import asyncio
import hashlib
import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serves one folder as the repository `me/model`, or refuses with the hub's error code."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.refusal = ""
        self.sent: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _answer(self, *, body: bool) -> None:
        known = self.path.startswith("/api/models/") or "/resolve/" in self.path
        if self.server.refusal or not known:
            self.send_response(401 if known else 404)
            self.send_header("X-Error-Code", self.server.refusal)
            self.end_headers()
            return
        data = self._index() if self.path.startswith("/api/models/") else self._file(body)
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", hashlib.sha256(data).hexdigest())
        self.end_headers()
        if body:
            self.wfile.write(data)

    def _index(self) -> bytes:
        files = [file for file in sorted(self.server.folder.rglob("*")) if file.is_file()]
        siblings = [
            {"rfilename": str(file.relative_to(self.server.folder)), "size": file.stat().st_size} for file in files
        ]
        return json.dumps({"id": "me/model", "sha": COMMIT, "siblings": siblings}).encode()

    def _file(self, body: bool) -> bytes:
        name = re.split(f"/resolve/(?:{COMMIT}|main)/", self.path)[1]
        if body:
            self.server.sent.append(name)
        return (self.server.folder / name).read_bytes()


@contextmanager
def serving(folder: Path) -> Iterator[Hub]:
    """Serve `folder` as a repository inside the block."""
    server = Hub(folder)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def prefetch(service: str, endpoint: str, cache: Path, settings: dict[str, str]) -> tuple[int | None, str]:
    """Run a service's prefetch command against the hub at `endpoint`; returns its exit code and what it told."""
    environment = os.environ | settings | {"HF_ENDPOINT": endpoint, "HF_HUB_CACHE": str(cache)}
    command = (sys.executable, "-m", f"services.{service}.prefetch")
    process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    return process.returncode, errors.decode()
