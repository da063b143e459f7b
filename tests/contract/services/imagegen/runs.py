"""Driving an engine by hand, as the device thread would."""

from dataclasses import replace
from typing import Any

import numpy as np

from services.imagegen.domain import Decoded, Job, Pixels
from services.imagegen.ports import Engine, State

JOB = Job(prompt="a red lake", negative_prompt="", width=32, height=32, steps=3, guidance=4.0, seed=7)


def job(**changes: Any) -> Job:
    """Return a job with some fields changed."""
    return replace(JOB, **changes)


def ignore(_state: State) -> None:
    """Let every step pass."""


def alone(engine: Engine, wanted: Job) -> Decoded:
    """Make one picture with nobody beside it."""
    state = engine.prepare(wanted)
    while state.done < state.total:
        engine.step([state], ignore)
    return engine.finish(state)


def apart(one: Pixels, other: Pixels) -> int:
    """Return the largest difference of any value, 0 to 255."""
    return int(np.abs(one.astype(int) - other.astype(int)).max())
