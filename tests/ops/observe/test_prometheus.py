"""What the running studio exports is what rules, alerts and dashboards ask for."""

import asyncio
import time

import pytest

from deploy.prometheus.server import Prometheus
from tests.e2e.metrics import scrape
from tests.ops.observe.conftest import Watched
from tests.ops.observe.expressions import alerts, panels, rules, selectors

pytestmark = pytest.mark.asyncio(loop_scope="session")

_NOT_HERE = ('kind!="cpu"', "_gpu_", "voice_engine_mode")
"""What a machine without a GPU has none of, and a voice without XTTS."""


async def test_every_panel_shows_something(watched: Watched) -> None:
    empty = [
        (place, expr)
        for place, panel, expr in panels()
        if not panel.may_be_empty and not await watched.prometheus.query(expr)
    ]
    assert empty == []


async def test_every_expression_parses(watched: Watched) -> None:
    for expr in [expr for _, _, expr in panels()] + [rule["expr"] for rule in rules()]:
        await watched.prometheus.query(expr)  # raises if not


async def test_every_series_that_an_alert_looks_at_exists(watched: Watched) -> None:
    wanted = {(rule["alert"], selector) for rule in alerts() for selector in selectors(rule["expr"])}
    missing = {
        (alert, selector)
        for alert, selector in wanted
        if not any(each in selector for each in _NOT_HERE) and not await watched.prometheus.query(selector)
    }
    assert missing == set()


async def test_every_recording_rule_records(watched: Watched) -> None:
    recorded = [rule["record"] for rule in rules() if "record" in rule]
    assert [name for name in recorded if not await watched.prometheus.query(name)] == []


async def test_no_rule_is_in_trouble(watched: Watched) -> None:
    loaded = await watched.prometheus.rules()
    assert len(loaded) == len(rules())
    assert [rule["name"] for rule in loaded if rule["health"] == "err"] == []


async def test_a_healthy_studio_raises_no_page(watched: Watched) -> None:
    assert await watched.prometheus.query('ALERTS{alertstate="firing", severity="page"}') == []


@pytest.mark.parametrize("service", ["router", "imagegen", "voice", "rewrite_llm"])
async def test_promtool_finds_nothing_to_say_about_the_metrics(watched: Watched, service: str) -> None:
    page = await scrape(watched.studio, service)
    process = await asyncio.create_subprocess_exec(
        "promtool", "check", "metrics",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate(page.encode())
    assert (process.returncode, said.decode()) == (0, "")


async def test_exemplars_lead_to_the_trace(watched: Watched) -> None:
    now = time.time()
    found = await watched.prometheus.exemplars("imagegen_stage_seconds_bucket", now - 600, now)
    traces = {each["labels"]["trace_id"] for series in found for each in series["exemplars"]}
    sent = {each.span.trace_id.hex() for each in watched.collector.spans}
    assert traces and traces <= sent


async def test_no_label_holds_what_somebody_wrote(watched: Watched) -> None:
    for service in watched.studio.services:
        page = await scrape(watched.studio, service)
        assert "mountains" not in page and "no such model" not in page and "nobody" not in page


async def test_an_expression_that_does_not_parse_is_told(watched: Watched) -> None:
    with pytest.raises(Exception, match="parse error"):
        await watched.prometheus.query("sum(")


async def test_it_is_a_prometheus_of_our_own(watched: Watched) -> None:
    assert isinstance(watched.prometheus, Prometheus)
