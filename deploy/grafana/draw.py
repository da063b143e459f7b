"""`make dashboards`: draws every dashboard from a studio at work, through a real Prometheus."""

import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path

from deploy.grafana.__main__ import DASHBOARDS
from deploy.grafana.model import Dashboard, Panel, filled
from deploy.grafana.picture import Drawn, Line, picture
from deploy.local import load
from deploy.local.studio import Studio
from deploy.prometheus.server import Prometheus, Series

OUT = Path(__file__).parents[2] / "docs" / "operate" / "dashboards"
MINUTES = 4.0
STEP_S = 2.0
INTERVAL = "20s"
_SMALL = {"ATELIER_IMAGEGEN_MEMORY_FRACTION": "0.01", "ATELIER_IMAGEGEN_MAX_RUNNING": "6"}
"""A device that the bundled models do fill, so that there is something to see."""


async def draw(folder: Path, minutes: float) -> list[Path]:
    """Use a studio for so long, and write a picture of every dashboard into `OUT`."""
    async with (
        Studio(folder / "logs", environment=load.ENVIRONMENT | _SMALL) as studio,
        Prometheus(folder / "prometheus", studio.services) as prometheus,
    ):
        await prometheus.until("count(up == 1) == 4")
        began = time.time()
        for crowd in cycle((1, 2, 4, 8)):
            await load.once(studio, steps=6, crowd=crowd)
            if time.time() > began + 60 * minutes:
                break
        drawn = {each.uid: await _drawn(prometheus, each, began, time.time()) for each in DASHBOARDS}
    OUT.mkdir(parents=True, exist_ok=True)
    return [picture(each, drawn[each.uid], OUT / f"{each.uid}.png") for each in DASHBOARDS]


async def _drawn(prometheus: Prometheus, dashboard: Dashboard, start: float, end: float) -> Mapping[Panel, Drawn]:
    return {panel: await _panel(prometheus, panel, start, end) for panel in dashboard.panels}


async def _panel(prometheus: Prometheus, panel: Panel, start: float, end: float) -> Drawn:
    lines = []
    for query in panel.queries:
        found = await prometheus.query_range(filled(query.expr, INTERVAL), start, end, STEP_S)
        lines += [_line(each, query.legend, start) for each in found]
    return Drawn(tuple(lines))


def _line(series: Series, legend: str, start: float) -> Line:
    labels = {key: value for key, value in series["metric"].items() if key != "__name__"}
    name = legend
    for key, value in labels.items():
        name = name.replace("{{" + key + "}}", value)
    points = [(float(at) - start, float(value)) for at, value in series["values"]]
    return Line(name, labels, tuple(points))


def main() -> None:
    """Draw; the first argument is how many minutes the studio works."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES
    with tempfile.TemporaryDirectory() as folder:
        for path in asyncio.run(draw(Path(folder), minutes)):
            print(path)


if __name__ == "__main__":
    main()
