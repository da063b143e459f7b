"""The compose file: valid by the specification, and what it says is what the services read."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local.settings_table import settings_class
from servekit.settings import from_environment
from tests.ops.tools import ROOT, tool

FILE = ROOT / "deploy" / "docker" / "compose.yaml"
NAMES = {"router": "router", "imagegen": "imagegen", "voice": "voice", "rewrite-llm": "rewrite_llm"}
OF_LIBRARIES = {"GOMP_SPINCOUNT"}

VALIDATE = "import sys; from compose_spec import PyCompose; PyCompose.from_yaml(sys.stdin.read()).to_spec()"


def validate(text: str) -> subprocess.CompletedProcess[str]:
    """Hand the file over with its anchors resolved, which the parser does not know."""
    resolved = yaml.safe_dump(yaml.safe_load(text))
    return subprocess.run(
        [tool("python"), "-c", VALIDATE], input=resolved, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(FILE.read_text())["services"]
    return found


def test_it_is_valid_by_the_specification() -> None:
    done = validate(FILE.read_text())
    assert (done.returncode, done.stderr) == (0, "")


def test_a_mistake_would_be_found() -> None:
    assert validate(FILE.read_text().replace("read_only: true", "read_only: [1]")).returncode


def test_it_has_the_four_services(services: dict[str, Any]) -> None:
    assert set(services) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_read_and_its_service_starts_with_it(
    name: str, services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, kind = services[name], settings_class(NAMES[name])
    for variable, value in service["environment"].items():
        monkeypatch.setenv(variable, value)
    settings = from_environment(kind)
    fields = {f"{kind.model_config['env_prefix']}{field}".upper() for field in kind.model_fields}
    assert set(service["environment"]) - fields - OF_LIBRARIES == set()
    assert service["build"]["args"] == {"SERVICE": NAMES[name], "PORT": str(settings.port)}
    assert float(service["stop_grace_period"].removesuffix("s")) >= settings.drain_delay_s + settings.grace_s + 10


def test_only_the_router_is_published_and_only_to_this_machine(services: dict[str, Any]) -> None:
    assert {name: each["ports"] for name, each in services.items() if "ports" in each} == {
        "router": ["127.0.0.1:50051:50051"]
    }
    assert all(each["networks"] == ["inside"] for name, each in services.items() if name != "router")


def test_a_new_volume_belongs_to_the_user_of_the_image(services: dict[str, Any]) -> None:
    """It gets the owner of the folder that the image has in its place, and root where there is none."""
    dockerfile = (FILE.parent / "Dockerfile").read_text()
    (user,) = re.findall(r"^USER (\S+)$", dockerfile, re.MULTILINE)
    made = {Path(path) for path in re.findall(r"mkdir -p (\S+)", dockerfile)}
    given = {
        Path(path) for path in re.findall(rf"^COPY --from=build --chown={user} (\S+) \1$", dockerfile, re.MULTILINE)
    }
    mounted = {Path(each.split(":")[1]) for service in services.values() for each in service.get("volumes", [])}
    assert mounted and mounted <= {path for path in made if given & set(path.parents)}


def test_no_container_can_do_more_than_it_must(services: dict[str, Any]) -> None:
    for each in services.values():
        assert each["read_only"]
        assert each["cap_drop"] == ["ALL"]
        assert each["security_opt"] == ["no-new-privileges:true"]
