"""The overlays as kustomize builds them, and how to look things up in them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.ops.tools import ROOT, run

Resource = dict[str, Any]

FOLDER = ROOT / "deploy" / "k8s"
FOLDERS = {path.name: path for path in (*(FOLDER / "overlays").iterdir(), Path(__file__).parent / "with-gateway")}
NAMES = tuple(sorted(FOLDERS))
PART_OF = "app.kubernetes.io/part-of"


@dataclass(frozen=True)
class Overlay:
    """Everything that one overlay makes."""

    name: str
    resources: list[Resource] = field(repr=False)

    def all(self, kind: str) -> list[Resource]:
        """Return the resources of a kind."""
        return [each for each in self.resources if each["kind"] == kind]

    def one(self, kind: str, name: str) -> Resource:
        """Return a resource; raises `KeyError` if it is not there."""
        for each in self.all(kind):
            if each["metadata"]["name"] == name:
                return each
        raise KeyError(f"{self.name} has no {kind} {name}")

    def servers(self) -> Iterator[tuple[str, Resource, Resource]]:
        """Yield name, pod and server container of every Deployment."""
        for each in self.all("Deployment"):
            pod = each["spec"]["template"]
            (container,) = pod["spec"]["containers"]
            yield each["metadata"]["name"], pod, container

    def environment(self, container: Resource) -> dict[str, str]:
        """Return the variables that a container gets."""
        found: dict[str, str] = {}
        for source in container.get("envFrom", []):
            found |= self.one("ConfigMap", source["configMapRef"]["name"])["data"]
        return found | {each["name"]: each["value"] for each in container.get("env", [])}


@cache
def build(name: str) -> Overlay:
    """Build one of the overlays."""
    return Overlay(name, list(yaml.safe_load_all(run("kubectl", "kustomize", FOLDERS[name]))))
