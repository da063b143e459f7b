"""The configuration of Prometheus and Alertmanager, by their own tools."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.ops.observe.expressions import alerts

ROOT = Path(__file__).parents[3]
PROMETHEUS = ROOT / "deploy" / "prometheus"
ALERTMANAGER = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
NAMES = sorted({rule["alert"] for rule in alerts()})


def said(*command: str | Path) -> str:
    """Run a command that has to succeed and return what it says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROMETHEUS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_configuration_is_sound() -> None:
    assert "SUCCESS" in said("promtool", "check", "config", "prometheus.yml")
    said("promtool", "check", "rules", *sorted((PROMETHEUS / "rules").glob("*.yml")))


def test_alerts_fire_when_they_should_and_only_then() -> None:
    assert "SUCCESS" in said("promtool", "test", "rules", *TESTS)


@pytest.mark.parametrize("name", NAMES)
def test_each_alert_is_seen_to_fire_and_to_keep_still(name: str) -> None:
    checks = [
        bool(check["exp_alerts"])
        for path in TESTS
        for case in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
        for check in case["alert_rule_test"]
        if check["alertname"] == name
    ]
    assert set(checks) == {True, False}


@pytest.mark.parametrize("name", NAMES)
def test_each_alert_has_a_page_that_says_what_to_do(name: str) -> None:
    for rule in alerts():
        if rule["alert"] == name:
            page = (ROOT / rule["annotations"]["runbook_url"]).read_text(encoding="utf-8")
            assert name in page
            assert re.findall(r"^## (.+)$", page, re.MULTILINE) == ["What it means", "How to look", "What to do"]


def test_each_page_belongs_to_an_alert() -> None:
    pages = {path.name for path in (ROOT / "docs" / "operate" / "runbooks").glob("*.md")} - {"README.md"}
    assert pages == {Path(rule["annotations"]["runbook_url"]).name for rule in alerts()}


def test_alertmanager_takes_its_configuration() -> None:
    assert "SUCCESS" in said("amtool", "check-config", ALERTMANAGER)


@pytest.mark.parametrize(("severity", "receiver"), [("page", "pager"), ("ticket", "tickets")])
def test_alerts_reach_their_receivers(severity: str, receiver: str) -> None:
    route = said("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", f"severity={severity}")
    assert route.strip() == receiver
