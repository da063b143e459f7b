"""`python -m deploy.grafana --write` makes the dashboards' JSON, `--check` tells whether it is fresh."""

import sys
from pathlib import Path

from deploy.grafana.export import FOLDER, exported
from deploy.grafana.gpu import GPU
from deploy.grafana.imagegen import IMAGEGEN
from deploy.grafana.model import Dashboard
from deploy.grafana.overview import OVERVIEW
from deploy.grafana.routing import ROUTING
from deploy.grafana.voice import VOICE

DASHBOARDS: tuple[Dashboard, ...] = (OVERVIEW, IMAGEGEN, VOICE, ROUTING, GPU)


def files(folder: Path = FOLDER) -> dict[Path, str]:
    """Return the JSON of every dashboard by the file it belongs into."""
    return {folder / f"{each.uid}.json": exported(each) for each in DASHBOARDS}


def main(arguments: list[str]) -> None:
    """Write or check; raises `SystemExit` if a file is stale."""
    for path, text in files().items():
        if arguments == ["--write"]:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            sys.exit(f"{path} is stale: run make fix")


if __name__ == "__main__":
    main(sys.argv[1:])
