"""Whose turn it is on the device: pictures in the loop, and which of them go together."""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace

from servekit.worker import CancelToken
from services.imagegen.domain import Decoded, Job, Pixels, Priority, Stage
from services.imagegen.ports import State

AGEING = 8
"""Steps of others that lift a waiting picture by one priority class."""

OnStep = Callable[[int, int, Pixels | None], None]
"""Called on the device thread with the steps done, the steps in all and, where one was asked for, a preview."""


@dataclass(frozen=True, slots=True)
class Made:
    """A picture, and what is needed to decode it again."""

    decoded: Decoded
    state: State
    stages: tuple[Stage, ...]


@dataclass(eq=False, slots=True)
class Entry:
    """One picture in the loop."""

    job: Job
    priority: Priority
    deadline: float | None
    on_step: OnStep
    arrival: int
    future: "asyncio.Future[Made]"
    token: CancelToken = field(default_factory=CancelToken)
    state: State | None = None
    waited: int = 0
    """Steps of others since its own last one."""
    reported: int = 0
    stages: dict[str, Stage] = field(default_factory=dict)

    def spent(self, name: str, began: float, ended: float) -> None:
        """Add a turn to a stage."""
        known = self.stages.get(name, Stage(name, began, began, 0.0))
        self.stages[name] = replace(known, ended=ended, seconds=known.seconds + ended - began)

    def urgency(self) -> int:
        """Priority, raised by every `AGEING` steps of others."""
        return self.priority + self.waited // AGEING

    @property
    def drawn(self) -> bool:
        """True once all steps are taken."""
        return self.state is not None and self.state.done >= self.state.total

    def key(self) -> Hashable:
        """States with equal keys may share a forward pass."""
        return self.state.batch_key if self.state is not None else id(self)


def choose(entries: Sequence[Entry], limit: Callable[[Hashable], int]) -> list[Entry]:
    """Return the pictures of the next step, all of one key, `limit(key)` at most.

    Kinds of pictures take turns: next is that of the most urgent picture, among equals of the one that waited longest.
    Of that kind the most urgent go, then who came first: if all took turns, all would be done last.

    A picture that is passed over ages, and each step takes one of the most urgent, so among n pictures each gets a step
    at least every 3 * AGEING + n steps.
    """
    key = max(entries, key=lambda each: (each.urgency(), each.waited, -each.arrival)).key()
    alike = [each for each in entries if each.key() == key]
    return sorted(alike, key=lambda each: (-each.urgency(), each.arrival))[: limit(key)]


def company(fresh: Sequence[Entry]) -> list[Entry]:
    """Return the first of those to be prepared, and who can be prepared with it."""
    first = fresh[0]
    if first.job.alone:
        return [first]
    return [each for each in fresh if each.job.adapters == first.job.adapters and not each.job.alone]
