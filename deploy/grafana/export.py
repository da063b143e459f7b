"""From dashboards to the JSON that Grafana reads."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.grafana.model import Dashboard, Panel, Query, Thresholds

FOLDER = Path(__file__).parent / "dashboards"
WIDTH, HEIGHT = 24, 8
_SCHEMA_VERSION = 39
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def exported(dashboard: Dashboard) -> str:
    """Return a dashboard as JSON text."""
    document = {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["atelier"],
        "schemaVersion": _SCHEMA_VERSION,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": list(_variables())},
        "links": [
            {"type": "dashboards", "tags": ["atelier"], "title": "Atelier", "asDropdown": True, "keepTime": True}
        ],
        "panels": list(_rows(dashboard)),
    }
    return json.dumps(document, indent=2) + "\n"


def _variables() -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    yield _values("namespace", "label_values(servekit_build_info, namespace)")
    yield _values("pod", 'label_values(servekit_build_info{namespace=~"$namespace"}, pod)')


def _values(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }


def _rows(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    number, y = 0, 0
    for row in dashboard.rows:
        number += 1
        place = {"x": 0, "y": y, "w": WIDTH, "h": 1}
        yield {"id": number, "type": "row", "title": row.question, "collapsed": False, "gridPos": place, "panels": []}
        width = WIDTH // len(row.panels)
        for at, panel in enumerate(row.panels):
            number += 1
            yield _panel(number, panel, {"x": at * width, "y": y + 1, "w": width, "h": HEIGHT})
        y += 1 + HEIGHT


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": place,
        "targets": [_target(chr(ord("A") + at), query, panel) for at, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": _options(panel),
    }


def _target(letter: str, query: Query, panel: Panel) -> dict[str, Any]:
    instant = panel.kind in ("table", "bargauge")
    return {
        "refId": letter,
        "datasource": _SOURCE,
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "instant": instant,
        "range": not instant,
        "format": "table" if panel.kind == "table" else "time_series",
        "exemplar": panel.kind == "timeseries" and "_bucket" in query.expr,
    }


def _field(panel: Panel) -> dict[str, Any]:
    field: dict[str, Any] = {"unit": panel.unit, "thresholds": _thresholds(panel.thresholds)}
    if panel.kind == "timeseries":
        field["min"] = 0
        field["custom"] = {
            "fillOpacity": 30 if panel.stacked else 8,
            "lineWidth": 1,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "line" if panel.thresholds else "off"},
        }
    return field


def _thresholds(thresholds: Thresholds) -> dict[str, Any]:
    steps = [{"color": "green", "value": None}, *({"color": colour, "value": value} for value, colour in thresholds)]
    return {"mode": "absolute", "steps": steps}


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "timeseries":
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    if panel.kind == "table":
        return {"showHeader": True}
    return {"reduceOptions": {"calcs": ["lastNotNull"], "values": False}, "orientation": "auto"}
