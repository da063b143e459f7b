"""The dashboards as code: fresh, complete, and about metrics that exist."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from deploy.grafana.__main__ import DASHBOARDS, files
from deploy.grafana.export import FOLDER
from deploy.grafana.model import Dashboard, filled
from deploy.prometheus.operator import OUT, operator_rules
from servekit.admission import Admission
from servekit.device import CurrentDevice, DevicePlan, Gpu, GpuFigures
from servekit.metrics import AccessMetrics, GrpcMetrics, LoopMetrics, new_registry
from servekit.model_metrics import export_state
from servekit.residency import Residency
from servekit.worker import DeviceWorker
from services.imagegen.metrics import ImagegenMetrics
from services.rewrite_llm.metrics import RewriteMetrics
from services.router.metrics import RouterMetrics
from services.voice.metrics import VoiceMetrics

RULES = Path(__file__).parents[4] / "deploy" / "prometheus" / "rules"
PLAN = DevicePlan("cpu", "cpu", "a CPU", "float32", None, (), 1, 1000, 900, "it is there")
SELECTED = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{")
WORDS = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
OF_PROMETHEUS = {"up", "ALERTS"}
_OF_THE_COLLECTOR = "of Python's garbage collector; its pauses are in the latencies"
_LIKE_IMAGEGEN = "exported alike by every service with models; only imagegen has models that swap"
NOT_SHOWN = {
    "grpc_server_msg_received": "for the dashboards that others made for gRPC servers",
    "grpc_server_msg_sent": "for the dashboards that others made for gRPC servers",
    "process_virtual_memory_bytes": "says nothing where weights are mapped",
    "python_gc_collections": _OF_THE_COLLECTOR,
    "python_gc_objects_collected": _OF_THE_COLLECTOR,
    "python_gc_objects_uncollectable": _OF_THE_COLLECTOR,
    "rewrite_model_evicted_age_seconds": _LIKE_IMAGEGEN,
    "voice_model_evicted_age_seconds": _LIKE_IMAGEGEN,
}
"""Metrics that no panel and no rule asks for, and why not."""
UNITS = {"short", "s", "bytes", "reqps", "percentunit", "celsius", "watt"}


class Card(Gpu):
    """A GPU of which everything is known."""

    def read(self) -> GpuFigures:
        return GpuFigures(used_bytes=1, free_bytes=1, utilisation=0.5, temperature_c=40.0)


def rules() -> list[dict[str, str]]:
    groups = [group for path in RULES.glob("*.yml") for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def recorded() -> set[str]:
    return {rule["record"] for rule in rules() if "record" in rule}


def registries() -> Iterator[CollectorRegistry]:
    residency: Residency[object] = Residency([], loader=None, budget_bytes=1)  # type: ignore[arg-type]
    admission, device = Admission(capacity=1, queue_limit=1), CurrentDevice(PLAN, lambda _: Card(None, None))
    voices, pictures, words = new_registry("voice", "1"), new_registry("imagegen", "1"), new_registry("rewrite", "1")
    VoiceMetrics(voices)
    ImagegenMetrics(pictures)
    RewriteMetrics(words)
    for prefix, registry in (("voice", voices), ("imagegen", pictures), ("rewrite", words)):
        export_state(prefix, registry, device, admission, residency, DeviceWorker("device"))
    yield from (voices, pictures, words)
    router = new_registry("router", "1")
    RouterMetrics(router)
    GrpcMetrics(router)
    LoopMetrics(router)
    AccessMetrics(router)
    yield router


def exported() -> dict[str, tuple[str, ...]]:
    """The samples of every metric that some service may have, by its name in code."""
    suffixes = {"counter": ("_total",), "info": ("_info",), "histogram": ("_bucket", "_sum", "_count")}
    metrics = [metric for registry in registries() for metric in registry.collect()]
    return {each.name: tuple(each.name + suffix for suffix in suffixes.get(each.type, ("",))) for each in metrics}


def known() -> set[str]:
    """Every name that an expression may select."""
    return {sample for samples in exported().values() for sample in samples} | recorded() | OF_PROMETHEUS


def expressions(dashboard: Dashboard) -> list[str]:
    return [filled(query.expr, "5m") for panel in dashboard.panels for query in panel.queries]


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda each: each.uid)
def test_every_metric_of_a_dashboard_exists(dashboard: Dashboard) -> None:
    named = {name for expr in expressions(dashboard) for name in SELECTED.findall(expr)}
    assert named and named <= known()


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda each: each.uid)
def test_no_metric_escapes_the_variables(dashboard: Dashboard) -> None:
    names = known()
    for expr in (query.expr for panel in dashboard.panels for query in panel.queries):
        bare = re.sub(r'"[^"]*"|\{[^}]*\}|by \([^)]*\)', lambda found: "{}" if found[0][0] == "{" else "", expr)
        assert {word for word in WORDS.findall(re.sub(r"[\w:]+\{\}", "", bare)) if word in names} == set()
        assert expr.count("{") == expr.count('namespace=~"$namespace"')


def test_every_metric_of_a_rule_exists() -> None:
    names = known()
    for rule in rules():
        assert set(SELECTED.findall(rule["expr"])) <= names, rule


def test_every_metric_is_looked_at_or_need_not_be() -> None:
    asked = [expr for dashboard in DASHBOARDS for expr in expressions(dashboard)] + [rule["expr"] for rule in rules()]
    selected = {name for expr in asked for name in SELECTED.findall(expr)}
    unseen = {name for name, samples in exported().items() if selected.isdisjoint(samples)}
    assert unseen == NOT_SHOWN.keys()


def test_the_files_are_fresh() -> None:
    assert {path: path.read_text() for path in files()} == files()


def test_all_is_all_that_is_ours_and_not_the_whole_cluster() -> None:
    """Without a value for "All", Grafana puts in the values that it found."""
    for text in files().values():
        chosen = [each for each in json.loads(text)["templating"]["list"] if each["type"] == "query"]
        assert [each["name"] for each in chosen] == ["namespace", "pod"]
        for each in chosen:
            assert each["includeAll"] and "allValue" not in each
            assert "servekit_build_info" in each["query"]["query"]


def test_every_panel_has_a_unit_and_every_question_is_one() -> None:
    for dashboard in DASHBOARDS:
        for row in dashboard.rows:
            assert row.question.endswith("?")
            assert all(panel.unit in UNITS and panel.queries for panel in row.panels)


def test_titles_do_not_repeat() -> None:
    for dashboard in DASHBOARDS:
        titles = [panel.title for panel in dashboard.panels]
        assert len(titles) == len(set(titles))


def test_every_metric_says_its_unit() -> None:
    """Counts of things and shares have none; what has one, has a base unit."""
    wrong = re.compile(r"_(ms|millis\w*|minutes|hours|kb|mb|mib|gib|percent|micros\w*)(_|$)")
    assert {name for name in known() if wrong.search(name)} == set()


def test_the_cluster_gets_every_dashboard() -> None:
    listed = yaml.safe_load((FOLDER.parent / "kustomization.yaml").read_text())["configMapGenerator"][0]["files"]
    assert {FOLDER.parent / each for each in listed} == set(files())


def test_the_cluster_gets_every_rule() -> None:
    assert OUT.read_text() == operator_rules()
