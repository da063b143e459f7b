"""One prompt and one sentence through the four services."""

import argparse
import asyncio
import signal
import sys
import time
from pathlib import Path

from atelier_client import AsyncClient, AtelierError
from atelier_client.cli import render
from deploy.local.studio import StartFailed, Studio

OUT = Path("out")


async def demo(prompt: str, say: str) -> int:
    """Make out/demo.png and out/demo.wav and return the exit code."""
    begun = time.perf_counter()
    async with Studio(OUT / "logs") as studio:
        print(f"studio      four services up in {time.perf_counter() - begun:.1f} s, router at {studio.address}")
        async with AsyncClient(studio.address) as client:
            print(f"prompt      {prompt}")
            result = await client.image(prompt)
            paths = [picture.save(OUT / "demo.png") for picture in result.pictures[:1]]
            render.image(result, paths)
            print(f"sentence    {say}")
            spoken = await client.say(say)
            render.speech(spoken, spoken.save(OUT / "demo.wav"))
    print(f"done        in {time.perf_counter() - begun:.1f} s; every service has stopped")
    return 0 if paths else 2


async def _until_signalled(prompt: str, say: str) -> int:
    """Run the demo; a signal cancels it, so that the studio still stops everything it started."""
    task = asyncio.ensure_future(demo(prompt, say))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        print("stopped     every service has stopped", file=sys.stderr)
        return 130


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--say", required=True)
    arguments = parser.parse_args()
    try:
        sys.exit(asyncio.run(_until_signalled(arguments.prompt, arguments.say)))
    except AtelierError as error:
        render.error(error)
    except StartFailed as error:
        print(f"error       {error}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
