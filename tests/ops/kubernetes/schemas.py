"""Strict JSON schemas: of Kubernetes' own resources from kubernetes-validate, of custom ones from the folder beside."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import referencing
from jsonschema import Draft7Validator
from referencing.jsonschema import DRAFT7

from tests.ops.kubernetes.overlays import Resource
from tests.ops.tools import TOOLS

VERSIONS = ("1.32", "1.37")
OWN = Path(__file__).parent / "schemas"


def mistakes(resource: Resource, version: str) -> Iterator[str]:
    """Yield everything that a resource has wrong for a version of Kubernetes, with the path to it."""
    name = f"{resource['kind']} {resource['metadata']['name']}"
    for error in validator(resource["apiVersion"], resource["kind"], version).iter_errors(resource):
        yield f"{name}: {error.json_path}: {error.message}"


@cache
def validator(api_version: str, kind: str, version: str) -> Draft7Validator:
    """Return the validator of a kind; raises `FileNotFoundError` for one that nobody described."""
    group, _, api = api_version.rpartition("/")
    own = OWN / f"{kind.lower()}-{api}.json"
    if own.exists():
        return Draft7Validator(json.loads(own.read_text()))
    folder = _folder(version)
    short = f"{group.partition('.')[0]}-" if group else ""
    schema = json.loads((folder / f"{kind.lower()}-{short}{api}.json").read_text())
    return Draft7Validator(schema, registry=_definitions(folder))


@cache
def _definitions(folder: Path) -> Any:
    contents = json.loads((folder / "_definitions.json").read_text())
    document = referencing.Resource(contents, specification=DRAFT7)  # type: ignore[call-arg]  # attrs class without stubs
    return referencing.Registry().with_resource("_definitions.json", document)


def _folder(version: str) -> Path:
    found = TOOLS.glob(f"lib/*/site-packages/kubernetes_validate/kubernetes-json-schema/v{version}.0-local-strict")
    return next(found)
