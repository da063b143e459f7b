"""What a batcher does next, and what that is learned from. Pure: the caller says what time it is."""

from collections.abc import Hashable, Sequence

from services.imagegen.domain import MOST_ROWS
from services.imagegen.gathering import Gathering, Going
from services.imagegen.turns import Entry, choose, is_full, to_prepare
from services.imagegen.widths import Widths


class Schedule:
    """Chooses among the pictures in the loop, `most` at once at most."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._widths = Widths(MOST_ROWS * most)
        self._gathering = Gathering()

    def batch(self, active: Sequence[Entry]) -> list[Entry]:
        """Return the pictures of the next step."""
        at_work = [each for each in active if each.state is not None and not each.drawn]
        return choose(at_work, self._widths.limit, self._most)

    def beginning(self, active: Sequence[Entry], batch: Sequence[Entry], now: float) -> list[Entry]:
        """Return the pictures to be prepared at once before the step of `batch`."""
        waiting = [each for each in active if each.state is None]
        fresh = to_prepare(waiting, batch, full=is_full(batch, self._widths.limit, self._most))[: self._most]
        return [] if fresh and self._gathering.begin_later(fresh, self._going(active, batch, fresh, now)) else fresh

    def ending(self, active: Sequence[Entry], now: float) -> list[list[Entry]]:
        """Return the pictures to be decoded now, grouped by who is decoded at once."""
        drawn = [each for each in active if each.drawn]
        batch, groups = self.batch(active) if drawn else [], []
        while drawn:
            group = [each for each in drawn if each.key() == drawn[0].key()][: self._most]
            drawn = [each for each in drawn if each not in group]
            full = len(group) == self._most
            if full or not self._gathering.end_later(group, self._going(active, batch, group, now)):
                groups.append(group)
        return groups

    def prepared(self, entries: Sequence[Entry], seconds: float) -> None:
        """Note how long it took to prepare these at once."""
        self._gathering.prepared(entries, seconds)

    def stepped(self, key: Hashable, rows: int, seconds: float) -> None:
        """Note how long a step took of so many rows, of pictures that had this key before it."""
        self._widths.record(key, rows, seconds)

    def finished(self, entries: Sequence[Entry], seconds: float) -> None:
        """Note how long it took to decode these at once."""
        self._gathering.finished(entries, seconds)

    def does_not_fit(self, batch: Sequence[Entry]) -> None:
        """Note that the device has no memory for a step of so many."""
        self._widths.does_not_fit(batch[0].key(), sum(each.rows for each in batch))

    def _going(self, active: Sequence[Entry], batch: Sequence[Entry], waiting: Sequence[Entry], now: float) -> Going:
        step_s = self._widths.seconds(batch[0].key(), sum(each.rows for each in batch)) if batch else None
        return Going(batch, step_s, len(active) - len(waiting), now)
