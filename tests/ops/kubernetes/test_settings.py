"""What the manifests say is what the code reads, serves and answers."""

from typing import Any

import pytest

from deploy.local.settings_table import settings_class
from servekit.healthcheck import parse
from servekit.server import LIVENESS
from servekit.settings import ServerSettings, from_environment
from services.imagegen import reading as image_models
from services.imagegen.engines.registry import FAMILIES
from services.rewrite_llm import catalog as language_models
from tests.ops.kubernetes import overlays
from tests.ops.kubernetes.overlays import Overlay, Resource

PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
OF_LIBRARIES = {"HF_HOME", "HF_HUB_CACHE", "HF_TOKEN_PATH", "GOMP_SPINCOUNT"}
SPARE_S = 10
"""Seconds that a pod must have left after preStop, drain and grace, to unload and exit."""

servers = pytest.mark.parametrize(
    ("overlay", "name"),
    [(overlay, name) for overlay in overlays.NAMES for name in ("router", "imagegen", "voice", "rewrite-llm")],
)


def find(overlay_name: str, name: str) -> tuple[Overlay, Resource, Resource]:
    overlay = overlays.build(overlay_name)
    for each, pod, container in overlay.servers():
        if each == name:
            return overlay, pod["spec"], container
    raise KeyError(name)


def settings_of(name: str) -> type[ServerSettings]:
    return settings_class(name.replace("-", "_"))


def accepted(kind: type[ServerSettings]) -> set[str]:
    """Return every variable that a service reads."""
    found = set()
    for name, field in kind.model_fields.items():
        aliases: Any = getattr(field.validation_alias, "choices", [f"{kind.model_config['env_prefix']}{name}"])
        found |= {str(each).upper() for each in aliases}
    return found


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Any:
    def read_settings(overlay_name: str, name: str) -> Any:
        overlay, _, container = find(overlay_name, name)
        for variable in accepted(settings_of(name)):
            monkeypatch.delenv(variable, raising=False)
        for variable, value in overlay.environment(container).items():
            monkeypatch.setenv(variable, value)
        return from_environment(settings_of(name))

    return read_settings


@servers
def test_every_variable_is_read_by_somebody(overlay: str, name: str) -> None:
    built, _, container = find(overlay, name)
    assert set(built.environment(container)) - accepted(settings_of(name)) - OF_LIBRARIES == set()


@servers
def test_ports_are_those_of_the_settings(overlay: str, name: str, read: Any) -> None:
    built, _, container = find(overlay, name)
    settings = read(overlay, name)
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {"grpc": settings.port, "metrics": settings.metrics_port}
    assert [each["port"] for each in built.one("Service", name)["spec"]["ports"]] == [settings.port]


@servers
def test_gateways_and_meshes_are_told_http2_in_the_clear_only_where_it_is(overlay: str, name: str, read: Any) -> None:
    services = [each["spec"] for each in overlays.build(overlay).all("Service")]
    mine = [each for each in services if each["selector"] == {"app.kubernetes.io/name": name}]
    said = {port.get("appProtocol") for each in mine for port in each["ports"]}
    assert said == ({None} if read(overlay, name).tls_cert_file else {"kubernetes.io/h2c"})


@pytest.mark.parametrize("overlay", overlays.NAMES)
def test_a_route_leads_to_what_every_gateway_can_call(overlay: str) -> None:
    """The APIs for a certificate that a Gateway shows to what is behind it are not the same everywhere."""
    built = overlays.build(overlay)
    for rule in (rule for route in built.all("GRPCRoute") for rule in route["spec"]["rules"]):
        for backend in rule["backendRefs"]:
            (port,) = built.one("Service", backend["name"])["spec"]["ports"]
            assert (port["port"], port.get("appProtocol")) == (backend["port"], "kubernetes.io/h2c")


@servers
def test_probes_ask_what_the_server_answers(overlay: str, name: str, read: Any) -> None:
    _, _, container = find(overlay, name)
    settings = read(overlay, name)
    mounted = {each["mountPath"] for each in container["volumeMounts"]}
    for kind in PROBES:
        probe = container[kind]
        if settings.tls_client_ca_file is None:
            asked = probe["grpc"]["port"], probe["grpc"].get("service", "")
        else:
            python, m, module, *arguments = probe["exec"]["command"]
            assert (python, m, module) == ("python", "-m", "servekit.healthcheck")
            options = parse(arguments)
            assert {str(path.parent) for path in (options.ca, options.cert, options.key)} <= mounted
            asked = int(options.address.rpartition(":")[2]), options.service
        assert asked == (settings.port, LIVENESS if kind == "livenessProbe" else "")


@servers
def test_a_pod_may_finish_its_drain(overlay: str, name: str, read: Any) -> None:
    _, pod, container = find(overlay, name)
    settings = read(overlay, name)
    needed = container["lifecycle"]["preStop"]["sleep"]["seconds"] + settings.drain_delay_s + settings.grace_s
    assert pod["terminationGracePeriodSeconds"] >= needed + SPARE_S


@pytest.mark.parametrize("overlay", overlays.NAMES)
def test_the_router_is_slower_to_go_than_to_notice(overlay: str, read: Any) -> None:
    """A server that drains is still served while the router takes it off its list."""
    router = read(overlay, "router")
    for name in ("imagegen", "voice", "rewrite-llm"):
        assert read(overlay, name).drain_delay_s >= router.refresh_s + router.probe_timeout_s


@pytest.mark.parametrize("overlay", overlays.NAMES)
def test_every_target_is_a_headless_service_and_its_port(overlay: str, read: Any) -> None:
    router, imagegen = read(overlay, "router"), read(overlay, "imagegen")
    targets = [router.imagegen_targets, router.voice_targets, router.rewrite_target, imagegen.rewrite_address]
    for target in targets:
        scheme, _, address = target.partition(":///")
        host, _, port = address.partition(":")
        service = overlays.build(overlay).one("Service", host)["spec"]
        assert scheme == "dns"
        assert service["clusterIP"] == "None"
        assert service["ports"][0]["port"] == int(port)


@pytest.mark.parametrize("overlay", overlays.NAMES)
def test_every_model_named_is_in_the_catalog(overlay: str, read: Any) -> None:
    known = image_models.load(None, families=FAMILIES).models
    assert set(read(overlay, "imagegen").models) <= set(known)
    assert read(overlay, "rewrite-llm").llm in {"", *language_models.load(None).models}


def test_services_that_share_a_card_share_its_memory(read: Any) -> None:
    on_the_card = [
        name for name, _, container in overlays.build("gpu-single").servers()
        if "nvidia.com/gpu" in container["resources"]["limits"]
    ]  # fmt: skip
    assert len(on_the_card) > 1
    assert sum(read("gpu-single", name).memory_fraction for name in on_the_card) <= 0.95


@servers
def test_who_shows_a_certificate_has_one_in_the_name_it_is_called_by(overlay: str, name: str, read: Any) -> None:
    built, pod, _ = find(overlay, name)
    settings = read(overlay, name)
    if settings.tls_client_ca_file is None:
        assert settings.allow_unauthenticated
        return
    secret = next(each["secret"]["secretName"] for each in pod["volumes"] if each["name"] == "tls")
    (certificate,) = (each["spec"] for each in built.all("Certificate") if each["spec"]["secretName"] == secret)
    assert {name, f"{name}.atelier.svc"} <= set(certificate["dnsNames"])
    assert set(certificate["usages"]) == {"server auth", "client auth"}


@pytest.mark.parametrize("overlay", overlays.NAMES)
def test_images_are_pinned_and_of_the_right_variant(overlay: str) -> None:
    for _, _, container in overlays.build(overlay).servers():
        tag = container["image"].rpartition(":")[2]
        on_gpu = "nvidia.com/gpu" in container["resources"]["limits"]
        assert tag != "latest"
        assert tag == "dev" or tag.endswith("-cuda" if on_gpu else "-cpu")
