"""Whether pictures that begin or end wait for others, to be prepared or decoded in one pass with them. Pure.

A pass for one takes nearly as long as one for several, and all others stand still meanwhile; waiting costs only those
who wait. When to stop waiting for who may never come is the dynamic TCP acknowledgement problem, and its answer is to
wait until that has cost what it may save: twice what it would cost who knows the future, at most (Dooly, Goldman and
Scott, "TCP dynamic acknowledgment delay: theory and practice", STOC 1998, pages 389 to 398).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from services.imagegen.domain import Priority
from services.imagegen.paces import Paces, PacesByKind
from services.imagegen.turns import AGEING, Entry

SAVED_FOR = 2.0
"""Pictures for which a pass is saved, for each that is there now: those too that come before the device is idle."""
SLACK = 2.0
"""Who has less left until the deadline than so many times what the steps take waits for nobody."""


def pays(waited: Sequence[float], wait: float, shared: float, others: int) -> bool:
    """Tell whether to wait on, for `wait` seconds more.

    `waited` are the seconds for which each has waited; `shared` those of a pass that several would have in common,
    for which `others` would stand still.
    """
    return sum(waited) + len(waited) * wait <= SAVED_FOR * shared * others


@dataclass(frozen=True, slots=True)
class Going:
    """What goes on while somebody waits."""

    batch: Sequence[Entry]
    """The pictures of the next step."""
    step_s: float | None
    """Seconds that it takes, if they are known."""
    others: int
    """Pictures in the loop but for those who would wait."""
    now: float
    """Seconds of the clock that deadlines are of."""


class Gathering:
    """Learns what passes take that prepare and decode, and tells who waits for company.

    Nobody does while nothing else goes on, nor who has a high priority or a deadline near, or wants no company.
    """

    def __init__(self) -> None:
        self._beginnings = PacesByKind()
        self._ends = PacesByKind()

    def prepared(self, entries: Sequence[Entry], seconds: float) -> None:
        """Note how long it took to prepare these at once."""
        self._beginnings[entries[0].looks].record(len(entries), seconds)

    def finished(self, entries: Sequence[Entry], seconds: float) -> None:
        """Note how long it took to decode these at once."""
        self._ends[entries[0].looks].record(len(entries), seconds)

    def begin_later(self, fresh: Sequence[Entry], going: Going) -> bool:
        """Tell whether those who could be prepared at once let another step pass, for who may come meanwhile."""
        return _wait(fresh, self._beginnings[fresh[0].looks], 1, going)

    def end_later(self, drawn: Sequence[Entry], going: Going) -> bool:
        """Tell whether those who could be decoded at once wait for the next of their kind to be drawn."""
        left = [each.state.total - each.state.done for each in going.batch if each.state and each.like(drawn[0])]
        return bool(left) and _wait(drawn, self._ends[drawn[0].looks], min(left), going)


def _wait(entries: Sequence[Entry], paces: Paces, steps: int, going: Going) -> bool:
    if not going.batch or going.step_s is None or any(_hurried(each, going.step_s, going.now) for each in entries):
        return False
    return pays([going.now - each.ready for each in entries], steps * going.step_s, paces.shared(), going.others)


def _hurried(entry: Entry, step_s: float, now: float) -> bool:
    late = entry.deadline is not None and entry.deadline - now < SLACK * entry.job.taken * step_s
    return late or entry.priority > Priority.NORMAL or entry.job.alone or entry.waited >= AGEING
