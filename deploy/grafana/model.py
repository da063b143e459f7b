"""What a dashboard is made of, and the few forms of PromQL its panels use."""

import re
from dataclasses import dataclass
from typing import Literal

NAMESPACE, POD = 'namespace=~"$namespace"', 'pod=~"$pod"'
INTERVAL = "$__rate_interval"

Kind = Literal["timeseries", "stat", "bargauge", "table"]
Colour = Literal["green", "yellow", "orange", "red"]
Thresholds = tuple[tuple[float, Colour], ...]
"""From which value on which colour; below the first it is green."""


@dataclass(frozen=True, slots=True)
class Query:
    """A line, or a bundle of lines, of a panel. `legend` names them by their labels: `{{model}}`."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture."""

    title: str
    unit: str
    """A unit as Grafana names it: `s`, `bytes`, `reqps`, `percentunit`, `short`, …"""
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    thresholds: Thresholds = ()
    stacked: bool = False
    description: str = ""
    may_be_empty: bool = False
    """Whether nothing is to be seen until something fails, or without a GPU."""


@dataclass(frozen=True, slots=True)
class Row:
    """The panels that answer a question of somebody on call."""

    question: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page of Grafana."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]

    @property
    def panels(self) -> list[Panel]:
        """Every panel, in order."""
        return [panel for row in self.rows for panel in row.panels]


def of(metric: str, *matchers: str) -> str:
    """Return the selector of a metric in the namespaces and pods that were chosen."""
    return f"{metric}{{{', '.join((*matchers, NAMESPACE, POD))}}}"


def rate(metric: str, *matchers: str, by: str = "") -> str:
    """Return the summed rate per second of a counter."""
    return f"sum{f' by ({by})' if by else ''} (rate({of(metric, *matchers)}[{INTERVAL}]))"


def increase(metric: str, *matchers: str, by: str = "") -> str:
    """Return how much a counter grew within a step of the picture."""
    return f"sum{f' by ({by})' if by else ''} (increase({of(metric, *matchers)}[{INTERVAL}]))"


def total(metric: str, *matchers: str, by: str = "") -> str:
    """Return the sum of a gauge."""
    return f"sum{f' by ({by})' if by else ''} ({of(metric, *matchers)})"


def quantile(share: float, histogram: str, *matchers: str, by: str = "") -> str:
    """Return the value that `share` of a histogram's measurements stay below."""
    groups = ", ".join(filter(None, ("le", by)))
    return f"histogram_quantile({share}, sum by ({groups}) (rate({of(f'{histogram}_bucket', *matchers)}[{INTERVAL}])))"


def mean(histogram: str, *matchers: str, by: str = "") -> str:
    """Return the mean of a histogram's measurements."""
    return f"{rate(f'{histogram}_sum', *matchers, by=by)} / {rate(f'{histogram}_count', *matchers, by=by)}"


def spread(histogram: str, *matchers: str, by: str = "") -> tuple[Query, Query]:
    """Return the lines that half of a histogram's measurements, and 95 % of them, stay below."""
    label = f"{{{{{by}}}}} " if by else ""
    half, most = (quantile(part, histogram, *matchers, by=by) for part in (0.5, 0.95))
    return Query(half, f"{label}half"), Query(most, f"{label}95 %")


def share(metric: str, part: str, by: str = "", *matchers: str) -> str:
    """Return which share of a counter's growth matches `part`, 0 where nothing does."""
    return f"{rate(metric, part, *matchers, by=by)} / {rate(metric, *matchers, by=by)}"


def filled(expr: str, interval: str, namespace: str = ".*", pod: str = ".*") -> str:
    """Return an expression with Grafana's variables replaced, so that Prometheus understands it."""
    values = {INTERVAL: interval, "$namespace": namespace, "$pod": pod}
    return re.sub(r"\$\w+", lambda found: values[found[0]], expr)
