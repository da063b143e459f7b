"""Starts the router: `python -m services.router`."""

from servekit.app import run
from services.router.bootstrap import build
from services.router.settings import RouterSettings

if __name__ == "__main__":
    run(build(RouterSettings()))
