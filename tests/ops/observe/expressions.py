"""Every PromQL expression that is shipped, and the selectors inside."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from deploy.grafana.__main__ import DASHBOARDS
from deploy.grafana.model import Panel, filled

RULES = Path(__file__).parents[3] / "deploy" / "prometheus" / "rules"
INTERVAL = "1m"
SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}")


def panels() -> Iterator[tuple[str, Panel, str]]:
    """Yield the place, the panel and each of its expressions, with Grafana's variables filled in."""
    for dashboard in DASHBOARDS:
        for panel in dashboard.panels:
            for query in panel.queries:
                yield f"{dashboard.uid}: {panel.title}", panel, filled(query.expr, INTERVAL)


def rules() -> list[dict[str, Any]]:
    """Return every rule of every file."""
    return [
        rule
        for path in sorted(RULES.glob("*.yml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]


def alerts() -> list[dict[str, Any]]:
    """Return every alerting rule."""
    return [rule for rule in rules() if "alert" in rule]


def selectors(expr: str) -> set[str]:
    """Return the selectors of an expression, each with its matchers."""
    return {found[0] for found in SELECTOR.finditer(expr)}


def names(expr: str) -> set[str]:
    """Return the metrics an expression selects."""
    return {found[1] for found in SELECTOR.finditer(expr)}
