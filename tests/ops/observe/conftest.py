"""The real studio under a real Prometheus, with tracing on, after a scripted load."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.local import load
from deploy.local.studio import Studio
from deploy.prometheus.server import Prometheus
from tests.collector import Collector, collecting


@dataclass(frozen=True)
class Watched:
    """A studio that was used, and those who watched."""

    studio: Studio
    prometheus: Prometheus
    collector: Collector


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def watched(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Watched]:
    folder: Path = tmp_path_factory.mktemp("ops")
    async with collecting() as collector:
        environment = load.ENVIRONMENT | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        async with (
            Studio(folder / "logs", environment=environment) as studio,
            Prometheus(folder / "prometheus", studio.services) as prometheus,
        ):
            await prometheus.until("count(up == 1) == 4")
            await load.once(studio)
            await load.once(studio)  # a rate needs a change between two looks
            await _looked_at(prometheus)
            yield Watched(studio, prometheus, collector)


async def _looked_at(prometheus: Prometheus) -> None:
    """Wait until Prometheus has seen the end of the load, and the recording rules have seen that."""
    ended = await prometheus.query("max(timestamp(up))")
    moment = float(ended[0]["value"][1])
    await prometheus.until(f"min(timestamp(up)) > {moment}")
    await prometheus.until(f"timestamp(atelier:calls_failed:ratio_rate5m{{job='router'}}) > {moment + 1}")
