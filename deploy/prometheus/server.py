"""A real Prometheus over a running studio: for the tests, and for the pictures of the dashboards."""

import asyncio
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from deploy.local.ports import unused
from deploy.local.program import Program
from deploy.local.studio import Process

FOLDER = Path(__file__).parent
_LOOK_S = 0.2

Series = dict[str, Any]
"""One series as Prometheus's API gives it: `metric`, and `value` or `values`."""


class PrometheusFailed(Exception):
    """Prometheus refused a question; the message says why."""


class Prometheus:
    """Runs Debian's `prometheus` with the shipped configuration and rules, on targets and a folder of its own.

    Alerts go to the `alertmanager` at that address, if there is one. With `hold` they fire after so long, in place of
    what their rules say.
    """

    def __init__(
        self,
        folder: Path,
        services: Mapping[str, Process],
        *,
        interval: str = "1s",
        alertmanager: str = "",
        hold: str = "",
    ) -> None:
        self._alertmanager = alertmanager
        self._hold = hold
        self._folder = folder
        self._services = services
        self._interval = interval
        self.address = f"127.0.0.1:{unused(1)[0]}"

    async def __aenter__(self) -> Self:
        command = (
            "prometheus",
            f"--config.file={self._configure()}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address={self.address}",
            "--enable-feature=exemplar-storage",
        )
        self._program = Program(command, self._folder / "prometheus.log", f"http://{self.address}/-/ready")
        await self._program.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._program.__aexit__(*exc)

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
        """Return the vector of an expression once it is not empty; asks until then, for Prometheus tells nobody.

        Raises `TimeoutError`, and `ProgramFailed` if Prometheus ends.
        """
        async with asyncio.timeout(limit_s):
            while not (found := await self.query(expression)):
                await self._program.lives(_LOOK_S)
        return found

    def _configure(self) -> Path:
        """Copy what is shipped, with these targets and this interval in place of the shipped ones."""
        for folder in ("rules", "targets"):
            (self._folder / folder).mkdir(parents=True, exist_ok=True)
        for rules in (FOLDER / "rules").glob("*.yml"):
            text = rules.read_text(encoding="utf-8")
            held = re.sub(r"^( +for:) .+$", rf"\1 {self._hold}", text, flags=re.MULTILINE) if self._hold else text
            (self._folder / "rules" / rules.name).write_text(held, encoding="utf-8")
        config = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
        config["global"] = {"scrape_interval": self._interval, "evaluation_interval": self._interval}
        path = self._folder / "prometheus.yml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        targets = [_target(each) for each in self._services.values()]
        (self._folder / "targets" / "studio.yml").write_text(yaml.safe_dump(targets), encoding="utf-8")
        managers = [{"targets": [self._alertmanager]}] if self._alertmanager else []
        (self._folder / "targets" / "alertmanager.yml").write_text(yaml.safe_dump(managers), encoding="utf-8")
        return path

    async def _ask(self, what: str, parameters: Mapping[str, str]) -> Any:
        url = f"http://{self.address}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        answer = json.loads(await asyncio.to_thread(_get, url))
        if answer["status"] != "success":
            raise PrometheusFailed(f"{answer['error']}: {parameters}")
        return answer["data"]


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
