"""Every overlay builds, and every resource is valid for two versions of Kubernetes."""

import copy

import pytest

from tests.ops.kubernetes import overlays, schemas
from tests.ops.kubernetes.overlays import Resource

KUBERNETES_ONLY = {"local"}
"""Overlays that must not need anything but Kubernetes itself."""


def everything_wrong(resources: list[Resource], version: str) -> list[str]:
    return [mistake for each in resources for mistake in schemas.mistakes(each, version)]


@pytest.mark.parametrize("version", schemas.VERSIONS)
@pytest.mark.parametrize("name", overlays.NAMES)
def test_every_resource_is_valid(name: str, version: str) -> None:
    assert everything_wrong(overlays.build(name).resources, version) == []


@pytest.mark.parametrize("version", schemas.VERSIONS)
def test_every_mistake_is_found_and_not_only_the_first(version: str) -> None:
    broken = copy.deepcopy(overlays.build("local").one("Deployment", "router"))
    broken["spec"]["replica"] = 1
    container = broken["spec"]["template"]["spec"]["containers"][0]
    container["livenessProbe"]["grpc"]["port"] = "grpc"
    container["resources"]["limits"]["cpu"] = []
    assert len(everything_wrong([broken], version)) >= 3


def test_custom_resources_are_as_strict() -> None:
    kinds = {path.name.partition("-")[0] for path in schemas.OWN.iterdir()}
    used = [each for name in overlays.NAMES for each in overlays.build(name).resources if each["kind"].lower() in kinds]
    assert {each["kind"].lower() for each in used} == kinds
    for each in used:
        broken = copy.deepcopy(each)
        broken["spec"]["nonsense"] = True
        assert everything_wrong([broken], schemas.VERSIONS[0])


@pytest.mark.parametrize("name", sorted(KUBERNETES_ONLY))
def test_a_plain_cluster_takes_it(name: str) -> None:
    groups = {each["apiVersion"].rpartition("/")[0] for each in overlays.build(name).resources}
    assert groups <= {"", "apps", "policy", "networking.k8s.io"}


def test_every_component_is_used_somewhere() -> None:
    texts = [(folder / "kustomization.yaml").read_text() for folder in overlays.FOLDERS.values()]
    components = {path.name for path in (overlays.FOLDER / "components").iterdir()}
    assert {each for each in components if any(f"components/{each}\n" in text for text in texts)} == components
