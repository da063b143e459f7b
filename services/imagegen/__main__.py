"""Run imagegen: `python -m services.imagegen`."""

from servekit.app import launch
from services.imagegen.bootstrap import build
from services.imagegen.settings import ImagegenSettings

if __name__ == "__main__":
    launch(ImagegenSettings, build)
