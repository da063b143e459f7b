"""The command line against the four real processes."""

from pathlib import Path

import pytest

from atelier_client import AsyncClient
from deploy.local.studio import Studio
from tests.integration.atelier_client.fake import atelier

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_dry_run_shows_the_plan_and_a_run_writes_the_picture(studio: Studio, tmp_path: Path) -> None:
    file = tmp_path / "star.png"
    options = ["--size", "100x96", "--safety", "flag", "--priority", "low", "-o", str(file), "--server", studio.address]
    planned = await atelier("image", "a red star", "--dry-run", *options)
    assert planned.exit_code == 0, planned.output
    assert "plan        sketch" in planned.stdout
    assert "width: 100 -> 96" in planned.stdout
    assert not file.exists()
    made = await atelier("image", "a red star", "--steps", "2", *options)
    assert made.exit_code == 0, made.output
    assert file.read_bytes().startswith(b"\x89PNG")


async def test_models_are_loaded_by_their_server_and_not_by_the_router(studio: Studio) -> None:
    async with AsyncClient(studio.address) as client:
        addresses = {backend.service: backend.address for backend in await client.backends()}
    loaded = await atelier("load", "sketch", "--server", addresses["imagegen"])
    assert "sketch: ready" in loaded.stdout
    refused = await atelier("load", "sketch", "--server", studio.address)
    assert refused.exit_code == 1
    assert "whose address `atelier status` shows" in refused.stderr
