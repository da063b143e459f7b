"""Run imagegen: `python -m services.imagegen`."""

import sys

from servekit.app import run
from servekit.device import DeviceUnavailable
from servekit.errors import ServingError
from services.imagegen.bootstrap import build
from services.imagegen.settings import ImagegenSettings

if __name__ == "__main__":
    try:
        app = build(ImagegenSettings())
    except (ValueError, ServingError, DeviceUnavailable) as error:  # a setting or the catalog: no traceback needed
        sys.exit(f"imagegen cannot start: {error}")
    run(app)
