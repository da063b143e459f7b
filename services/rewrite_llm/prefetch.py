"""Fetches the language model that the settings name, for servers: `python -m services.rewrite_llm.prefetch`."""

import logging
import sys
from fnmatch import fnmatch

from servekit import logging as logs
from servekit.settings import WrongSettings, from_environment
from services.rewrite_llm import catalog as catalogs
from services.rewrite_llm.catalog import CatalogError, ModelRow
from services.rewrite_llm.settings import RewriteSettings

logger = logging.getLogger(__name__)

_WANTED = ["*.json", "*.txt", "*.jinja", "*.model", "*.safetensors"]


def prefetch(row: ModelRow, token: str | None) -> list[str]:
    """Fetch the files of a row from the hub and return their paths. Raises what the hub's client raises."""
    from huggingface_hub import HfApi, hf_hub_download

    revision = row.revision or "main"
    files = [each.rfilename for each in HfApi(token=token).model_info(row.hub, revision=revision).siblings or ()]
    wanted = [file for file in files if any(fnmatch(file, each) for each in _WANTED)]
    return [hf_hub_download(row.hub, file, revision=revision, token=token) for file in wanted]


def main() -> int:
    """Read the settings of rewrite_llm, fetch, and return the exit code: 1 with a line that says what is missing."""
    try:
        settings = from_environment(RewriteSettings)
        _, row = catalogs.load(settings.catalog_file).including(settings.llm, remote=bool(settings.openai_base_url))
    except (WrongSettings, CatalogError) as error:
        sys.exit(str(error))
    logs.configure(settings.log_level, settings.log_format)
    if not row.hub:
        logger.info("%s needs nothing from the hub", row.id)
        return 0
    try:
        files = prefetch(row, settings.hf_token.get_secret_value() if settings.hf_token else None)
    except Exception as error:  # the errors of the hub's client, and of the one below it, have no common base
        logger.error("%s cannot be fetched from the hub: %s", row.place, type(error).__name__)
        return 1
    logger.info("%s is here, in %d files", row.id, len(files))
    return 0


if __name__ == "__main__":
    sys.exit(main())
