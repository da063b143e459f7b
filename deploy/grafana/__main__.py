"""`python -m deploy.grafana --write` makes the dashboards' JSON, `--check` tells whether it is fresh."""

from pathlib import Path

from deploy.grafana.export import FOLDER, exported
from deploy.grafana.gpu import GPU
from deploy.grafana.imagegen import IMAGEGEN
from deploy.grafana.model import Dashboard
from deploy.grafana.overview import OVERVIEW
from deploy.grafana.routing import ROUTING
from deploy.grafana.voice import VOICE
from deploy.local import generated

DASHBOARDS: tuple[Dashboard, ...] = (OVERVIEW, IMAGEGEN, VOICE, ROUTING, GPU)


def files(folder: Path = FOLDER) -> dict[Path, str]:
    """Return the JSON of every dashboard by the file it belongs into."""
    return {folder / f"{each.uid}.json": exported(each) for each in DASHBOARDS}


if __name__ == "__main__":
    generated.files(files())
