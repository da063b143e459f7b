"""Batching with nothing around it, simulated: from what work costs, how soon pictures are there."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from services.imagegen.gathering import pays
from services.imagegen.paces import in_common

WIDTH = 8
"""Pictures that share a forward pass at most."""


@dataclass(frozen=True, slots=True)
class Device:
    """What work on 1, 2, … `WIDTH` pictures at once costs, in seconds."""

    step: Sequence[float]
    prepare: Sequence[float] = (0.0,) * WIDTH
    finish: Sequence[float] = (0.0,) * WIDTH

    @classmethod
    def gaining(cls, gain: float) -> "Device":
        """Return the device whose full batches make `gain` times what single pictures make, their ends for nothing."""
        each = (WIDTH - gain) / (WIDTH * (gain - 1))
        return cls([1 + width * each for width in range(1, WIDTH + 1)])

    def single(self, steps: float) -> float:
        """Return the pictures per second, of so many steps, made one after the other."""
        return 1 / (self.prepare[0] + steps * self.step[0] + self.finish[0])

    def rate(self, steps: float) -> float:
        """Return the pictures per second in full batches of so many steps."""
        return WIDTH / (self.prepare[-1] + steps * self.step[-1] + self.finish[-1])


@dataclass(frozen=True, eq=False, slots=True)
class Asked:
    """A picture, and when it was asked for."""

    at: float
    """Seconds from the first."""
    steps: int


def arrivals(rate: float, steps: Sequence[int], random: Random, *, until: float) -> list[Asked]:
    """Return pictures asked for at random moments (Poisson), `rate` a second, each of one of `steps`."""
    asked = [Asked(0.0, random.choice(steps))]
    while asked[-1].at < until:
        asked.append(Asked(asked[-1].at + random.expovariate(rate), random.choice(steps)))
    return asked


def join_between_steps(pictures: Sequence[Asked], device: Device, *, gather: bool = True) -> list[float]:
    """Return the seconds until pictures are there, as they end, when they join and leave between steps.

    Those who begin or end wait for company as imagegen has them do, unless `gather` is false.
    """
    coming, running, seconds, now = deque(pictures), dict[Asked, int](), list[float](), 0.0
    fresh, drawn = dict[Asked, float](), dict[Asked, float]()  # and since when
    widths = range(1, WIDTH + 1)
    beginning, ending = in_common(widths, device.prepare), in_common(widths, device.finish)

    def wait(those: Sequence[Asked], since: dict[Asked, float], saved: float, steps: int) -> bool:
        others = len(fresh) + len(running) + len(drawn) - len(those)
        pause = steps * device.step[len(running) - 1]
        return gather and bool(running) and pays([now - since[each] for each in those], pause, saved, others)

    while coming or fresh or running:
        if not fresh and not running:
            now = max(now, coming[0].at)
        while coming and coming[0].at <= now:
            fresh[coming.popleft()] = now
        joining = list(fresh)[: WIDTH - len(running)]
        if joining and not wait(joining, fresh, beginning, 1):
            now += device.prepare[len(joining) - 1]
            running |= {each: each.steps for each in joining}
            fresh = {each: since for each, since in fresh.items() if each not in running}
        else:
            now += device.step[len(running) - 1]
            drawn |= {each: now for each, left in running.items() if left == 1}
            running = {each: left - 1 for each, left in running.items() if left > 1}
        while drawn:
            ends = list(drawn)[:WIDTH]
            if len(ends) < WIDTH and wait(ends, drawn, ending, min(running.values(), default=0)):
                break
            now += device.finish[len(ends) - 1]
            seconds += [now - each.at for each in ends]
            drawn = {each: since for each, since in drawn.items() if each not in ends}
    return seconds


def whole_pictures(pictures: Sequence[Asked], device: Device) -> list[float]:
    """Return the seconds until pictures are there, as they end, when a batch takes nobody in before all of it is done.

    All of a batch take as many steps: a call of a diffusers pipeline has one number of them.
    """
    coming, waiting, seconds, now = deque(pictures), list[Asked](), list[float](), 0.0
    while coming or waiting:
        if not waiting:
            now = max(now, coming[0].at)
        while coming and coming[0].at <= now:
            waiting.append(coming.popleft())
        batch = [each for each in waiting if each.steps == waiting[0].steps][:WIDTH]
        waiting = [each for each in waiting if each not in batch]
        width = len(batch) - 1
        now += device.prepare[width] + batch[0].steps * device.step[width] + device.finish[width]
        seconds += [now - each.at for each in batch]
    return seconds
