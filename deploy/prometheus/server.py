"""A real Prometheus over a running studio: for the tests, and for the pictures of the dashboards."""

import asyncio
import json
import shutil
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from deploy.local.studio import Process

FOLDER = Path(__file__).parent
_READY_S = 30.0
_STOP_S = 10.0
_LOOK_S = 0.2

Series = dict[str, Any]
"""One series as Prometheus's API gives it: `metric`, and `value` or `values`."""


class PrometheusFailed(Exception):
    """Prometheus ended, did not get ready, or refused a question; the message says why."""


class Prometheus:
    """Runs Debian's `prometheus` with the shipped configuration and rules, on targets and a folder of its own."""

    def __init__(self, folder: Path, services: Mapping[str, Process], *, interval: str = "1s") -> None:
        self._folder = folder
        self._services = services
        self._interval = interval
        self.address = f"127.0.0.1:{_free_port()}"

    async def __aenter__(self) -> Self:
        config = self._configure()
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address={self.address}",
                "--enable-feature=exemplar-storage",
                stdout=log,
                stderr=log,
            )
        try:
            async with asyncio.timeout(_READY_S):
                await self._ready()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stop()

    async def query(self, expression: str) -> list[Series]:
        """Return the instant vector of an expression; raises `PrometheusFailed` if it does not parse."""
        data = await self._ask("query", {"query": expression})
        result: list[Series] = data["result"]
        return result

    async def query_range(self, expression: str, start: float, end: float, step: float) -> list[Series]:
        """Return the values of an expression between two moments (seconds since 1970), every `step` seconds."""
        asked = {"query": expression, "start": str(start), "end": str(end), "step": str(step)}
        result: list[Series] = (await self._ask("query_range", asked))["result"]
        return result

    async def exemplars(self, expression: str, start: float, end: float) -> list[Series]:
        """Return the exemplars of the series of an expression."""
        asked = {"query": expression, "start": str(start), "end": str(end)}
        result: list[Series] = await self._ask("query_exemplars", asked)
        return result

    async def rules(self) -> list[dict[str, Any]]:
        """Return every loaded rule, with its health."""
        return [rule for group in (await self._ask("rules", {}))["groups"] for rule in group["rules"]]

    async def until(self, expression: str, limit_s: float = 30.0) -> list[Series]:
        """Return the vector of an expression once it is not empty; asks until then. Raises `TimeoutError`."""
        async with asyncio.timeout(limit_s):
            while not (found := await self.query(expression)):  # noqa: ASYNC110 - another process's state has no event
                await asyncio.sleep(_LOOK_S)
        return found

    def _configure(self) -> Path:
        """Copy what is shipped, with these targets and this interval in place of the shipped ones."""
        shutil.copytree(FOLDER / "rules", self._folder / "rules", dirs_exist_ok=True)
        (self._folder / "targets").mkdir(parents=True, exist_ok=True)
        config = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
        config["global"] = {"scrape_interval": self._interval, "evaluation_interval": self._interval}
        path = self._folder / "prometheus.yml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        targets = [_target(each) for each in self._services.values()]
        (self._folder / "targets" / "studio.yml").write_text(yaml.safe_dump(targets), encoding="utf-8")
        return path

    async def _ready(self) -> None:
        ended = asyncio.ensure_future(self._process.wait())
        try:
            while not ended.done():
                try:
                    await asyncio.to_thread(_get, f"http://{self.address}/-/ready")
                    return
                except OSError:
                    await asyncio.wait([ended], timeout=0.1)
        finally:
            ended.cancel()
        raise PrometheusFailed((self._folder / "prometheus.log").read_text(encoding="utf-8")[-2000:])

    async def _stop(self) -> None:
        if self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _ask(self, what: str, parameters: Mapping[str, str]) -> Any:
        url = f"http://{self.address}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        answer = json.loads(await asyncio.to_thread(_get, url))
        if answer["status"] != "success":
            raise PrometheusFailed(f"{answer['error']}: {parameters}")
        return answer["data"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def _target(service: Process) -> dict[str, Sequence[str] | dict[str, str]]:
    labels = {"job": service.name, "namespace": "local", "pod": f"{service.name}-0"}
    return {"targets": [f"127.0.0.1:{service.metrics_port}"], "labels": labels}


def _get(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=10) as reply:
            data: bytes = reply.read()
            return data
    except urllib.error.HTTPError as error:
        if error.code in (400, 422):  # the answer says what is wrong with the question
            return error.read()
        raise
