"""Starts the router: `python -m services.router`."""

from servekit.app import launch
from services.router.bootstrap import build
from services.router.settings import RouterSettings

if __name__ == "__main__":
    launch(RouterSettings, build)
