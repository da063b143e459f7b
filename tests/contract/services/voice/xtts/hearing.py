"""What the tests of XTTS say and hear."""

from contextlib import aclosing

import numpy as np

from services.voice.domain import Clip, Latents, Samples, Utterance, Voice
from services.voice.engines.xtts.engine import XttsEngine

ADA = Voice("tiny_xtts/ada-one", "Ada One", "tiny_xtts", ("en", "de"), native="Ada One")
RATE = 24000
LONGEST_S = 0.32
"""Of one part of a text."""
HUM = Clip(np.sin(np.arange(4 * RATE, dtype=np.float32) / 20).astype(np.float32) * np.float32(0.3), RATE)
"""Four seconds of a clip."""
SAME_DB = -60.0
"""Difference below which nobody hears one."""


def utterance(text: str, seed: int = 0, latents: Latents | None = None, rate: float = 1.0) -> Utterance:
    return Utterance(text, ADA, "en", seed, rate=rate, latents=latents)


async def pieces(engine: XttsEngine, what: Utterance) -> list[Samples]:
    async with aclosing(engine.speak(what)) as stream:
        return [piece async for piece in stream if isinstance(piece, np.ndarray)]


async def spoken(engine: XttsEngine, text: str, seed: int = 0) -> Samples:
    return np.concatenate(await pieces(engine, utterance(text, seed)))


def difference_db(one: Samples, other: Samples) -> float:
    """Return the power of the difference over that of the second; both must be equally long."""
    assert len(one) == len(other)
    return float(10 * np.log10(((one - other) ** 2).mean() / (other**2).mean() + 1e-30))
