"""imagegen as a process of its own."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import grpc

from tests.integration.services.imagegen.conftest import Client

PREFIX = "ATELIER_IMAGEGEN_"
READY_S = 60.0


async def launch(**settings: str) -> asyncio.subprocess.Process:
    environment = {**os.environ, **{PREFIX + name.upper(): value for name, value in settings.items()}}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.imagegen", env=environment, stderr=asyncio.subprocess.PIPE
    )


async def until(process: asyncio.subprocess.Process, pattern: str) -> re.Match[str]:
    """Wait for a line on stderr."""
    assert process.stderr is not None
    async for line in process.stderr:
        if found := re.search(pattern, line.decode()):
            return found
    raise AssertionError(f"the process ended without {pattern!r}")


async def test_it_starts_serves_and_stops_on_sigterm(models_dir: Path, catalog_file: Path) -> None:
    process = await launch(
        models_dir=str(models_dir), catalog_file=str(catalog_file), port="0", metrics_port="0", threads="1"
    )
    async with asyncio.timeout(READY_S):
        address = (await until(process, r"listening on ([\d.:]+)"))[1]
        await until(process, "ready after")
        async with grpc.aio.insecure_channel(address) as channel:
            outcome = await Client(channel).generate()
        process.send_signal(signal.SIGTERM)
        code = await process.wait()

    assert (outcome.summary.images, code) == (1, 0)


async def test_a_wrong_catalog_stops_the_start_with_every_mistake_and_no_traceback(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text('[[model]]\nid = "sdxl"\nsteps = 3\ncolour = "red"')
    process = await launch(catalog_file=str(file), device="cpu")
    async with asyncio.timeout(READY_S):
        _, errors = await process.communicate()
    told = errors.decode()

    assert process.returncode == 1
    assert "wrong.toml: row 1 (sdxl): steps" in told
    assert "colour: unknown field; allowed are" in told
    assert "Traceback" not in told
