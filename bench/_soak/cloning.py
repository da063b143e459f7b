"""Voices made from clips in the soak, by an XTTS with random weights."""

import asyncio
import shutil
import sys
from pathlib import Path
from typing import Self

from atelier_client import AsyncClient, AtelierError
from bench._soak.fleet import Fleet

_MODEL = "soak_xtts"
_ROW = f"""
[[model]]
id = "{_MODEL}"
display_name = "XTTS with random weights"
family = "xtts"
source = "{_MODEL}"
license = "none"
strengths = "Speaks noise, but really."
default_voice = "{_MODEL}/ada-one"
max_characters = 60
bytes = 100_000_000
load_s = 1
"""
_CLIP = "This is what I sound like when I read a sentence or two to a machine, so that it learns my voice."
_TIMEOUT_S = 120.0


class Cloning:
    """Makes voices from one clip; `folder` holds the model and, in `voices`, what is kept of them."""

    def __init__(self, address: str, folder: Path, clip: bytes) -> None:
        self._address = address
        self._folder = folder
        self._clip = clip

    @classmethod
    async def begin(cls, fleet: Fleet, folder: Path) -> Self:
        """Start voice again with a model that can, and make a first voice, for which it is loaded."""
        shutil.rmtree(folder, ignore_errors=True)
        making = (sys.executable, "-m", "recipes.random_xtts", str(folder / _MODEL), "--size", "tiny")
        process = await asyncio.create_subprocess_exec(*making)
        if await process.wait():
            raise RuntimeError("no XTTS could be made; is the extra `xtts` installed?")
        catalog = folder / "voice.toml"
        catalog.write_text(_ROW)
        places = {"CATALOG_FILE": catalog, "MODELS_DIR": folder, "VOICES_DIR": folder / "voices"}
        await fleet.restart("voice", {f"ATELIER_VOICE_{key}": str(each.resolve()) for key, each in places.items()})
        async with AsyncClient(fleet.studio.address, timeout=_TIMEOUT_S) as client:
            clip = (await client.say(_CLIP, voice="espeak/en-us")).data
        cloning = cls(fleet.studio.address, folder, clip)
        if error := await cloning.make("before"):
            raise RuntimeError(f"no voice could be made of a clip: {error}")
        return cloning

    async def make(self, voice: str) -> str:
        """Make a voice; return the code of the error, nothing if there is none. What is made is spoken with, once."""
        async with AsyncClient(self._address, timeout=_TIMEOUT_S) as client:
            try:
                await client.create_voice(voice, self._clip, model=_MODEL, consent=True)
                await client.say("Hello.", voice=voice)
            except AtelierError as error:
                return error.code
        return ""

    def files(self) -> int:
        """Return how many files are kept, whole or not."""
        return sum(each.is_file() for each in (self._folder / "voices").rglob("*"))
