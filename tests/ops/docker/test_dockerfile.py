"""The one Dockerfile: checkov finds nothing, and its ports are those of the services."""

import json
import re

from deploy.local.settings_table import SERVICES, settings_class
from tests.ops.tools import ROOT, run

FOLDER = ROOT / "deploy" / "docker"


def test_the_scanner_finds_nothing() -> None:
    arguments = ("--file", FOLDER / "Dockerfile", "--framework", "dockerfile", "--skip-download", "--output", "json")
    report = json.loads(run("checkov", *arguments, "--quiet", accept=frozenset({0, 1})))
    assert [each["check_id"] for each in report["results"]["failed_checks"]] == []
    assert report["summary"]["passed"] > 10


def test_the_build_script_knows_every_port() -> None:
    ports = dict(re.findall(r"\[(\w+)\]=(\d+)", (FOLDER / "build.sh").read_text()))
    assert ports == {name: str(settings_class(name).model_fields["port"].default) for name in SERVICES}


def test_what_an_image_is_made_of_is_in_the_build_context() -> None:
    sent = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    copied = {
        name
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", (FOLDER / "Dockerfile").read_text(), re.MULTILINE)
        for name in line.split()
    }
    assert sent == copied
    assert all((ROOT / name).exists() for name in sent)
