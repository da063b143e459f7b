"""How soon pictures can be there when they join between steps, beside whole-picture batching, with no overhead at all.

Simulated, so that hardware this machine lacks can be asked about: a step of b pictures costs `fixed + b * each`, and
what a device gains by full batches (eight pictures against eight single ones) is all that is varied, from a small CPU
to a GPU whose step of eight costs what a step of one does. Pictures are asked for at random moments (Poisson) at 70 %
of what full batches would make. Either all take the same steps, or each 4, 8, 14 or 28; whole-picture batching then
takes together what takes as many, since a call of a diffusers pipeline has one number of steps.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from bench._figures import Figure, percentile

_WIDTH = 8
_LOAD = 0.7
_PICTURES = 20_000
_GAINS = (1.2, 1.9, 4.0, 7.9)
_MIXES = {"equal pictures": (14,), "pictures of 4 to 28 steps": (4, 8, 14, 28)}


@dataclass(frozen=True, slots=True)
class Device:
    """What a step costs, in seconds."""

    each: float
    fixed: float = 1.0

    @classmethod
    def gaining(cls, gain: float) -> "Device":
        """Return the device whose batches of `_WIDTH` make `gain` times what single pictures make."""
        return cls((_WIDTH - gain) / (_WIDTH * (gain - 1)))

    def step(self, width: int) -> float:
        """Return the seconds of a step of `width` pictures."""
        return self.fixed + width * self.each


@dataclass(eq=False, slots=True)
class Asked:
    """A picture, and when it was asked for."""

    at: float
    steps: int


def run() -> list[Figure]:
    """Simulate every device and mix."""
    figures = []
    for name, steps in _MIXES.items():
        for gain in _GAINS:
            device = Device.gaining(gain)
            joined, waited = (
                percentile(how(_arrivals(device, steps), device), 0.95) for how in (join_between_steps, whole_pictures)
            )
            what = f"{name}, batches gain {gain:g}: p95 beside whole pictures"
            figures.append(Figure(what, joined / waited, "x", _PICTURES))
    return figures


def join_between_steps(arrivals: Sequence[Asked], device: Device) -> list[float]:
    """Return the seconds until each picture is there when pictures join and leave between steps."""
    coming, running, seconds, now = deque(arrivals), list[Asked](), list[float](), 0.0
    while coming or running:
        if not running:
            now = max(now, coming[0].at)
        while coming and coming[0].at <= now and len(running) < _WIDTH:
            running.append(coming.popleft())
        now += device.step(len(running))
        for each in running:
            each.steps -= 1
        seconds += [now - each.at for each in running if not each.steps]
        running = [each for each in running if each.steps]
    return seconds


def whole_pictures(arrivals: Sequence[Asked], device: Device) -> list[float]:
    """Return the seconds until each picture is there when a batch takes nobody in before all of it is done."""
    coming, waiting, seconds, now = deque(arrivals), list[Asked](), list[float](), 0.0
    while coming or waiting:
        if not waiting:
            now = max(now, coming[0].at)
        while coming and coming[0].at <= now:
            waiting.append(coming.popleft())
        batch = [each for each in waiting if each.steps == waiting[0].steps][:_WIDTH]
        waiting = [each for each in waiting if each not in batch]
        now += batch[0].steps * device.step(len(batch))
        seconds += [now - each.at for each in batch]
    return seconds


def _arrivals(device: Device, steps: Sequence[int]) -> list[Asked]:
    random, now, asked = Random(1), 0.0, []
    rate = _LOAD * _WIDTH / (sum(steps) / len(steps) * device.step(_WIDTH))
    for _ in range(_PICTURES):
        now += random.expovariate(rate)
        asked.append(Asked(now, random.choice(steps)))
    return asked
