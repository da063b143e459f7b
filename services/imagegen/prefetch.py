"""Fetches the weights that the settings name, before any server needs them: `python -m services.imagegen.prefetch`."""

import asyncio
import logging
import sys
from collections.abc import Mapping

from servekit import logging as logs
from servekit.errors import ModelUnavailable
from servekit.settings import WrongSettings, blaming, from_environment
from services.imagegen import reading
from services.imagegen.catalog import Catalog
from services.imagegen.engines.registry import FAMILIES
from services.imagegen.engines.weights import WeightStore
from services.imagegen.places import Weights, named
from services.imagegen.settings import ImagegenSettings

logger = logging.getLogger(__name__)


async def prefetch(needed: Mapping[str, Weights], store: WeightStore) -> list[str]:
    """Fetch weights, by the names that people are told; return what could not be had."""
    missing = []
    for name, weights in needed.items():
        try:
            place = await store.fetch_now(name, weights)
        except ModelUnavailable as error:
            missing.append(str(error))
        else:
            logger.info("%s is in %s", name, place)
    return missing


def _needed(settings: ImagegenSettings, catalog: Catalog) -> dict[str, Weights]:
    """Return what the models need that the settings name (ids, or `*` for all), and the safety check.

    Raises `WrongSettings` for a safety check that can be no place of weights.
    """
    rows = [row for row in catalog.models.values() if {"*", row.id} & set(settings.models)]
    needed = {name: weights for row in rows for name, weights in catalog.needs(row).items()}
    with blaming(settings, "nsfw_model"):
        return needed | ({"the safety classifier": named(settings.nsfw_model)} if settings.nsfw_model else {})


def main() -> int:
    """Read the settings of imagegen, fetch, and return the exit code: 1 with a line for each model that is missing."""
    try:
        settings = from_environment(ImagegenSettings)
        needed = _needed(settings, reading.configured(settings, FAMILIES))
    except WrongSettings as error:
        sys.exit(str(error))
    logs.configure(settings.log_level, settings.log_format)
    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    store = WeightStore(
        settings.models_dir,
        token=token,
        download=True,
        allow_pickle=settings.allow_pickle,
        endpoint=settings.hf_endpoint or None,
    )
    missing = asyncio.run(prefetch(needed, store))
    for each in missing:
        logger.error("%s", each)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
