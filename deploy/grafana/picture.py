"""Pictures of dashboards by matplotlib: the panels' lines, units and thresholds, not Grafana's own look."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from deploy.grafana.model import Dashboard, Panel, Row

_INK, _PAPER, _PANE, _FAINT = "#d8d9da", "#111217", "#181b1f", "#2c3235"
_COLOURS = {"green": "#73bf69", "yellow": "#f2cc0c", "orange": "#ff9830", "red": "#f2495c"}
_LINES = ("#73bf69", "#5794f2", "#f2cc0c", "#ff9830", "#b877d9", "#8ab8ff", "#f2495c", "#fade2a", "#96d98d", "#ca95e5")
_INCHES_WIDE, _INCHES_ROW = 16.0, 2.7
_MOST_LINES = 12
_COLUMNS = 70
"""Characters of a line of a table."""


@dataclass(frozen=True, slots=True)
class Line:
    """A series: its name by the legend, its labels, and (seconds since the start, value)."""

    name: str
    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def last(self) -> float:
        """The newest value."""
        return self.points[-1][1]


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a panel shows."""

    lines: tuple[Line, ...]


def picture(dashboard: Dashboard, drawn: Mapping[Panel, Drawn], path: Path) -> Path:
    """Draw a dashboard into a PNG file and return its path."""
    with mpl.rc_context({"font.size": 7, "text.color": _INK, "axes.edgecolor": _FAINT, "axes.labelcolor": _INK}):
        figure = Figure(figsize=(_INCHES_WIDE, _INCHES_ROW * len(dashboard.rows) + 0.5), facecolor=_PAPER)
        figure.suptitle(dashboard.title, x=0.01, y=0.997, ha="left", va="top", fontsize=12, color=_INK)
        bands = figure.subfigures(len(dashboard.rows), 1, squeeze=False)[:, 0]
        for band, row in zip(bands, dashboard.rows, strict=True):
            _row(band, row, drawn)
        figure.savefig(path, dpi=90, facecolor=_PAPER)
    return path


def _row(band: Any, row: Row, drawn: Mapping[Panel, Drawn]) -> None:
    band.set_facecolor(_PAPER)
    band.suptitle(row.question, x=0.01, y=0.9, ha="left", fontsize=9, color=_INK, weight="bold")
    places = band.subplots(1, len(row.panels), squeeze=False)[0]
    band.subplots_adjust(left=0.035, right=0.99, top=0.7, bottom=0.24, wspace=0.14)
    for axes, panel in zip(places, row.panels, strict=True):
        axes.set_facecolor(_PANE)
        axes.set_title(panel.title, loc="left", fontsize=8, color=_INK)
        if lines := drawn[panel].lines:
            _KINDS[panel.kind](axes, panel, lines)
        else:
            _nothing(axes)


def _nothing(axes: Any) -> None:
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, "no data", ha="center", va="center", transform=axes.transAxes)


def _time(axes: Any, panel: Panel, lines: tuple[Line, ...]) -> None:
    most = sorted(lines, key=lambda each: -max((v for _, v in each.points if math.isfinite(v)), default=0))
    shown = sorted(most[:_MOST_LINES], key=lambda each: each.name)
    if panel.stacked:
        _stack(axes, shown)
    for line, colour in zip(shown, _LINES * 2, strict=False):
        if not panel.stacked:
            axes.plot(*zip(*line.points, strict=True), color=colour, linewidth=1, label=line.name)
    top = axes.get_ylim()[1]
    for value, named in panel.thresholds:
        if value <= 2 * top:
            axes.axhline(value, color=_COLOURS[named], linewidth=0.8, linestyle="--")
    axes.set_ylim(bottom=0)
    axes.grid(color=_FAINT, linewidth=0.5)
    axes.tick_params(colors=_INK, labelsize=6)
    axes.yaxis.set_major_formatter(lambda value, _: written(value, panel.unit))
    axes.xaxis.set_major_formatter(lambda seconds, _: f"{int(seconds) // 60}:{int(seconds) % 60:02d}")
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.12), ncols=3, fontsize=5.5, frameon=False, labelcolor=_INK)


def _stack(axes: Any, lines: list[Line]) -> None:
    moments = sorted({at for line in lines for at, _ in line.points})
    heights = [
        [value if math.isfinite(value := dict(line.points).get(at, 0.0)) else 0.0 for at in moments] for line in lines
    ]
    axes.stackplot(moments, heights, labels=[each.name for each in lines], colors=_LINES, alpha=0.75)


def _stat(axes: Any, panel: Panel, lines: tuple[Line, ...]) -> None:
    axes.set_axis_off()
    for at, line in enumerate(lines):
        x = (at + 0.5) / len(lines)
        colour = _COLOURS[_level(panel, line.last)]
        axes.text(x, 0.5, written(line.last, panel.unit), ha="center", va="center", fontsize=17, color=colour)
        axes.text(x, 0.12, line.name, ha="center", fontsize=7)


def _bars(axes: Any, panel: Panel, lines: tuple[Line, ...]) -> None:
    shown = [each for each in lines if each.last > 0] or list(lines)
    axes.barh(
        [each.name for each in shown], [each.last for each in shown], color=_COLOURS["green"], height=0.7, alpha=0.6
    )
    for at, line in enumerate(shown):
        axes.text(0, at, f" {line.name}: {written(line.last, panel.unit)}", va="center", fontsize=7)
    axes.set_yticks([])
    axes.tick_params(colors=_INK, labelsize=6)
    axes.xaxis.set_major_formatter(lambda value, _: written(value, panel.unit))
    axes.margins(x=0.2)


def _table(axes: Any, _panel: Panel, lines: tuple[Line, ...]) -> None:
    axes.set_axis_off()
    for at, line in enumerate(lines):
        shown = {key: value for key, value in line.labels.items() if key not in ("job", "namespace", "instance")}
        text = "  ".join(f"{key}: {value}" for key, value in shown.items())
        axes.text(0, 0.98 - at / max(len(lines), 4), "\n".join(wrap(text, _COLUMNS)), va="top", fontsize=5.5)


def _level(panel: Panel, value: float) -> str:
    passed = [named for least, named in panel.thresholds if value >= least]
    return passed[-1] if passed else "green"


def written(value: float, unit: str) -> str:
    """Return a value with its unit, as Grafana would write it."""
    if not math.isfinite(value):
        return "no data"
    match unit:
        case "percentunit":
            return f"{100 * value:.3g}%"
        case "bytes":
            power = min(int(math.log2(value) // 10), 4) if value >= 1 else 0
            return f"{value / 1024**power:.3g} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
        case "s":
            return f"{value:.3g} s" if value >= 1 or value == 0 else f"{1000 * value:.3g} ms"
        case "reqps":
            return f"{value:.3g}/s"
        case _:
            return f"{value:.3g}"


_KINDS = {"timeseries": _time, "stat": _stat, "bargauge": _bars, "table": _table}
