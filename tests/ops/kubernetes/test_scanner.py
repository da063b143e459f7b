"""checkov finds nothing that is not explained in deploy/k8s/checkov.yaml."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ops.kubernetes import overlays
from tests.ops.tools import run

CONFIG = overlays.FOLDER / "checkov.yaml"


def scan(folder: Path, *options: str | Path) -> dict[str, Any]:
    common = ("--directory", folder, "--framework", "kubernetes", "--skip-download", "--quiet", "--output", "json")
    found: dict[str, Any] = json.loads(run("checkov", *common, *options, accept=frozenset({0, 1})))
    return found


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manifests")
    for name in overlays.NAMES:
        (folder / f"{name}.yaml").write_text(yaml.safe_dump_all(overlays.build(name).resources))
    return folder


def test_nothing_is_left_unexplained(built: Path) -> None:
    report = scan(built, "--config-file", CONFIG)
    failed = [f"{each['check_id']} {each['resource']}" for each in report["results"]["failed_checks"]]
    assert failed == []
    assert report["summary"]["passed"] > 1000


def test_every_exception_is_needed_and_has_its_reason(built: Path) -> None:
    excepted = yaml.safe_load(CONFIG.read_text())["skip-check"]
    explained = re.findall(r"^  # .*[.]\n  - (CKV\w+)$", CONFIG.read_text(), re.MULTILINE)
    failed = {each["check_id"] for each in scan(built)["results"]["failed_checks"]}
    assert explained == excepted
    assert set(excepted) == failed
