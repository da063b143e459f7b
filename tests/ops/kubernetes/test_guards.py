"""Who may do what: pods, and who reaches whom."""

from collections.abc import Iterator

import pytest

from tests.ops.kubernetes import overlays
from tests.ops.kubernetes.overlays import Overlay, Resource

SERVERS = ("router", "imagegen", "voice", "rewrite-llm")
PORTS = {"router": 50051, "imagegen": 50052, "voice": 50053, "rewrite-llm": 50054}
MAY_CALL = {("router", "imagegen"), ("router", "voice"), ("router", "rewrite-llm"), ("imagegen", "rewrite-llm")}

every_overlay = pytest.mark.parametrize("name", overlays.NAMES)


def pods(overlay: Overlay) -> Iterator[Resource]:
    for each in (*overlay.all("Deployment"), *overlay.all("Job")):
        yield each["spec"]["template"]


@every_overlay
def test_no_pod_can_do_more_than_it_must(name: str) -> None:
    for pod in pods(overlays.build(name)):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


@every_overlay
def test_every_server_has_an_account_a_budget_and_is_spread(name: str) -> None:
    overlay = overlays.build(name)
    for server, pod, _ in overlay.servers():
        assert overlay.one("ServiceAccount", pod["spec"]["serviceAccountName"])["automountServiceAccountToken"] is False
        budget = overlay.one("PodDisruptionBudget", server)["spec"]["selector"]["matchLabels"]
        assert budget.items() <= pod["metadata"]["labels"].items()
        spread = pod["spec"]["topologySpreadConstraints"]
        assert all(each["labelSelector"]["matchLabels"] == budget for each in spread)
        assert {each["topologyKey"] for each in spread} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}


def matches(selector: Resource, labels: dict[str, str]) -> bool:
    wanted: dict[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()


def allowed(overlay: Overlay, source: dict[str, str], target: dict[str, str], port: int | str) -> bool:
    """Whether a pod of the namespace may open a connection to another, as Kubernetes decides it."""

    def opened(direction: str, mine: dict[str, str], other: dict[str, str]) -> bool:
        peers = {"Ingress": "from", "Egress": "to"}[direction]
        policies = [each["spec"] for each in overlay.all("NetworkPolicy")]
        for_me = [each for each in policies if direction in each["policyTypes"] and matches(each["podSelector"], mine)]
        rules = [rule for each in for_me for rule in each.get(direction.lower(), [])]
        return not for_me or any(
            any("namespaceSelector" not in peer and matches(peer["podSelector"], other) for peer in rule.get(peers, []))
            and any(each["port"] == port for each in rule["ports"])
            for rule in rules
        )

    return opened("Egress", source, target) and opened("Ingress", target, source)


@every_overlay
def test_only_the_router_reaches_the_models(name: str) -> None:
    overlay = overlays.build(name)
    labels = {server: pod["metadata"]["labels"] for server, pod, _ in overlay.servers()}
    reached = {
        (source, target)
        for source in SERVERS for target in SERVERS
        if source != target and allowed(overlay, labels[source], labels[target], PORTS[target])
    }  # fmt: skip
    assert reached == MAY_CALL


@every_overlay
def test_a_stranger_in_the_namespace_reaches_nobody(name: str) -> None:
    overlay = overlays.build(name)
    for server, pod, _ in overlay.servers():
        assert not allowed(overlay, {"app": "stranger"}, pod["metadata"]["labels"], PORTS[server])


@every_overlay
def test_prometheus_and_nobody_else_reads_the_metrics(name: str) -> None:
    overlay = overlays.build(name)
    for _, pod, container in overlay.servers():
        policies = [each["spec"] for each in overlay.all("NetworkPolicy")]
        mine = [each for each in policies if matches(each["podSelector"], pod["metadata"]["labels"])]
        rules = [rule for each in mine for rule in each.get("ingress", [])]
        openings = [rule for rule in rules if any(port["port"] == "metrics" for port in rule["ports"])]
        (rule,) = openings
        (peer,) = rule["from"]
        assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}
        assert peer["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "prometheus"}
        assert "metrics" in {port["name"] for port in container["ports"]}


@every_overlay
def test_the_pod_monitor_finds_every_server(name: str) -> None:
    overlay = overlays.build(name)
    for monitor in overlay.all("PodMonitor"):
        for _, pod, container in overlay.servers():
            assert matches(monitor["spec"]["selector"], pod["metadata"]["labels"])
            ports = {port["name"] for port in container["ports"]}
            assert {each["port"] for each in monitor["spec"]["podMetricsEndpoints"]} <= ports


@every_overlay
def test_what_is_mounted_is_there(name: str) -> None:
    overlay = overlays.build(name)
    certificates = {each["spec"]["secretName"] for each in overlay.all("Certificate")}
    for pod in pods(overlay):
        volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
        for container in pod["spec"]["containers"]:
            assert {each["name"] for each in container["volumeMounts"]} <= set(volumes)
        for each in volumes.values():
            if "persistentVolumeClaim" in each:
                overlay.one("PersistentVolumeClaim", each["persistentVolumeClaim"]["claimName"])
            if "secret" in each and not each["secret"].get("optional"):
                assert each["secret"]["secretName"] in certificates
