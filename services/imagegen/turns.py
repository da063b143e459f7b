"""Whose turn it is on the device: pictures in the loop, and which of them go together."""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from servekit.worker import CancelToken
from services.imagegen.domain import Decoded, Job, Pixels, Priority, Stage
from services.imagegen.ports import State

AGEING = 8
"""Steps of others that lift a waiting kind of picture by one priority class; and the most for which a picture is not
prepared because there is no place for it, or waits for company to be prepared or decoded with."""
LEAD = 50
"""Steps by which a priority class goes before the one below: about those of a picture."""

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
    since: int = 0
    """Steps that the loop had taken when it came."""
    waited: int = 0
    """Steps of others since its own last one."""
    ready: float = 0.0
    """When it came, or was drawn, in seconds of the clock: since then it could be prepared, or decoded."""
    reported: int = 0
    stages: dict[str, Stage] = field(default_factory=dict)

    def spent(self, name: str, began: float, ended: float) -> None:
        """Add a turn to a stage."""
        known = self.stages.get(name, Stage(name, began, began, 0.0))
        self.stages[name] = replace(known, ended=ended, seconds=known.seconds + ended - began)

    @property
    def urgency(self) -> int:
        """Priority, raised by every `AGEING` steps of others."""
        return self.priority + self.waited // AGEING

    @property
    def rank(self) -> tuple[int, int]:
        """Order among pictures of a kind, smallest first: by arrival, each priority class as if `LEAD` steps sooner."""
        return (self.since - LEAD * self.priority, self.arrival)

    @property
    def drawn(self) -> bool:
        """True once all steps are taken."""
        return self.state is not None and self.state.done >= self.state.total

    @property
    def looks(self) -> Hashable:
        """What tells, before it is prepared, whom it is likely to share a key with."""
        return (self.job.width, self.job.height, self.job.adapters)

    def like(self, other: "Entry") -> bool:
        """Tell, before it is prepared, whether it is likely to have the key of another."""
        return self.looks == other.looks and not self.job.alone and not other.job.alone

    @property
    def rows(self) -> int:
        """Rows of a forward pass that its next step takes."""
        return 1 if self.state is None else self.state.rows

    def key(self) -> Hashable:
        """States with equal keys may share a forward pass."""
        return self.state.batch_key if self.state is not None else id(self)


def choose(entries: Sequence[Entry], limit: Callable[[Hashable], int], most: int) -> list[Entry]:
    """Return the pictures of the next step, all of one key, `most` at most and of `limit(key)` rows, but at least one.

    Of a kind those go that came first, to their end: if they took turns, all would be done last. A picture is passed by
    later ones of a higher priority, but only within `LEAD` steps for each class between them.

    Kinds take turns: next is that whose first picture is the most urgent, among equals the one that waited longest. It
    ages while others go, and each step takes one of the most urgent, so of n kinds each gets a step at least every
    3 * AGEING + n steps; a picture of a higher priority that takes the first's place begins to wait anew.
    """
    if not entries:
        return []
    kinds: dict[Hashable, list[Entry]] = {}
    for entry in sorted(entries, key=lambda each: each.rank):
        kinds.setdefault(entry.key(), []).append(entry)
    kind = max(kinds.values(), key=lambda each: (each[0].urgency, each[0].waited, -each[0].arrival))
    rows, room = accumulate(each.rows for each in kind[:most]), limit(kind[0].key())
    return kind[: max(1, sum(taken <= room for taken in rows))]


def is_full(batch: Sequence[Entry], limit: Callable[[Hashable], int], most: int) -> bool:
    """Tell whether a batch has no place for one more picture."""
    return bool(batch) and (len(batch) >= most or sum(each.rows for each in batch) >= limit(batch[0].key()))


def to_prepare(fresh: Sequence[Entry], batch: Sequence[Entry], *, full: bool) -> list[Entry]:
    """Return which of the `fresh` pictures to prepare before the step of `batch`, all in one pass.

    Where no place of that step is left (it is `full`), pictures like those are left for when one is free, `AGEING`
    steps at most: then they are prepared at once, which takes less time. Not so who would get a place at once.
    """
    if full:
        last = batch[-1]
        fresh = [each for each in fresh if each.rank < last.rank or each.waited >= AGEING or not each.like(last)]
    return company(fresh) if fresh else []


def company(fresh: Sequence[Entry]) -> list[Entry]:
    """Return the first of those to be prepared, and who can be prepared with it."""
    first = fresh[0]
    if first.job.alone:
        return [first]
    return [each for each in fresh if each.job.adapters == first.job.adapters and not each.job.alone]
