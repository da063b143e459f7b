"""From a service that is gone to the message that somebody gets: a real Prometheus and a real Alertmanager."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry, start_http_server

from deploy.local.ports import unused
from deploy.local.studio import Process
from deploy.prometheus.server import Prometheus
from servekit.model_metrics import ModelMetrics
from tests.ops.observe.alerting import Inbox, alertmanager, inhibited, raised

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class OnCall:
    """A service, those who watch it, and what reaches those on call."""

    service: Process
    prometheus: Prometheus
    inbox: Inbox

    @contextmanager
    def up(self) -> Iterator[ModelMetrics]:
        """Serve the metrics of the service inside the block."""
        registry = CollectorRegistry()
        server, thread = start_http_server(self.service.metrics_port, "127.0.0.1", registry)
        try:
            yield ModelMetrics(self.service.name, registry)
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


@pytest_asyncio.fixture
async def on_call(tmp_path: Path) -> AsyncIterator[OnCall]:
    port, metrics_port = unused(2)
    voice = Process("voice", port, metrics_port, environment={})
    async with (
        alertmanager(tmp_path) as (address, inbox),
        Prometheus(tmp_path / "prometheus", {"voice": voice}, alertmanager=address, hold="1s") as prometheus,
    ):
        yield OnCall(voice, prometheus, inbox)


async def test_a_service_that_is_gone_wakes_somebody_until_it_is_back(on_call: OnCall) -> None:
    message = await on_call.inbox.told("/page", "AtelierServiceDown", "firing")
    (alert,) = message["alerts"]
    assert message["receiver"] == "pager"
    assert alert["labels"] | {"job": "voice", "pod": "voice-0", "namespace": "local"} == alert["labels"]
    assert alert["annotations"]["summary"] == "voice (voice-0) does not answer Prometheus"
    assert "AtelierServiceDown" in (ROOT / alert["annotations"]["runbook_url"]).read_text(encoding="utf-8")
    with on_call.up():
        await on_call.inbox.told("/page", "AtelierServiceDown", "resolved")


async def test_what_can_wait_for_the_morning_becomes_a_ticket(on_call: OnCall) -> None:
    with on_call.up() as metrics:
        metrics.expect(["xtts"])
        await on_call.prometheus.until("voice_model_out_of_memory_total == 0")
        metrics.ran_out_of_memory("xtts")
        message = await on_call.inbox.told("/ticket", "AtelierOutOfMemory", "firing")
    (alert,) = message["alerts"]
    assert message["receiver"] == "tickets"
    assert alert["annotations"]["summary"] == "xtts found no room on the device of voice-0 (work)"
    assert "AtelierOutOfMemory" in (ROOT / alert["annotations"]["runbook_url"]).read_text(encoding="utf-8")


COMPLAINTS = {
    "prompts are not screened": {"alertname": "AtelierRewriteLlmDown"},
    "imagegen cannot be used": {"alertname": "AtelierBackendDown", "backend": "imagegen-0"},
    "voice cannot be used": {"alertname": "AtelierBackendDown", "backend": "voice-1"},
    "imagegen is on the CPU": {"alertname": "AtelierDeviceFellBack", "job": "imagegen"},
    "voice is on the CPU": {"alertname": "AtelierDeviceFellBack", "job": "voice"},
}


@pytest.mark.parametrize(
    ("job", "explained"),
    [
        ("router", set()),
        ("imagegen", {"imagegen cannot be used", "imagegen is on the CPU"}),
        ("voice", {"voice cannot be used", "voice is on the CPU"}),
        ("rewrite_llm", {"prompts are not screened"}),
        ("rewrite-llm", {"prompts are not screened"}),
    ],
)
async def test_a_service_that_is_gone_explains_its_own_absence_and_nothing_else(
    job: str, explained: set[str], tmp_path: Path
) -> None:
    common = {"namespace": "a", "severity": "page"}
    async with alertmanager(tmp_path) as (address, inbox):
        await raised(address, common | {"alertname": "AtelierServiceDown", "job": job})
        await inbox.told("/page", "AtelierServiceDown", "firing")
        await raised(address, *(common | each for each in COMPLAINTS.values()))
        silent = await inhibited(address)
    assert {name for name, labels in COMPLAINTS.items() if common | labels in silent} == explained
