"""The router stays small: nothing heavy is imported, whatever the other services need."""

import subprocess
import sys

HEAVY = ("torch", "diffusers", "transformers", "numpy", "services.imagegen", "services.voice", "services.rewrite_llm")
LIMIT_BYTES = 120e6


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_nothing_heavy_is_imported() -> None:
    code = f"import sys, services.router.__main__; print([name for name in {HEAVY} if name in sys.modules])"

    assert run(code) == "[]"


def test_a_router_that_serves_stays_under_its_memory_limit() -> None:
    code = """
import asyncio, psutil
from servekit.testing import local
from services.router.bootstrap import build
from services.router.settings import RouterSettings

async def main():
    async with build(local(RouterSettings, port=0)).serving():
        print(psutil.Process().memory_info().rss)

asyncio.run(main())
"""
    assert int(run(code)) < LIMIT_BYTES
