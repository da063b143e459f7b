from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from services.imagegen.domain import Priority
from services.imagegen.paces import ENOUGH
from services.imagegen.schedule import Schedule
from services.imagegen.turns import AGEING, Entry
from tests.unit.services.imagegen.fakes import FakeState, in_loop, job

MOST = 4


def picture(steps: int = 3, width: int = 8, priority: Priority = Priority.NORMAL) -> Entry:
    return in_loop(job(steps=steps, width=width), priority)


@dataclass
class Device:
    """Does what a schedule says, as a batcher does; passes take `fixed` seconds and one for each picture."""

    schedule: Schedule
    prepare_s: float = 5.0
    step_s: float = 1.0
    finish_s: float = 5.0
    now: float = 0.0
    steps: int = 0
    active: list[Entry] = field(default_factory=list)
    ended: list[Sequence[Entry]] = field(default_factory=list)
    longest: int = 0
    """Steps that anybody who was drawn has waited."""

    def come(self, *entries: Entry) -> None:
        for entry in entries:
            entry.since, entry.ready = self.steps, self.now
            self.active.append(entry)

    def round(self) -> None:
        batch = self.schedule.batch(self.active)
        fresh = self.schedule.beginning(self.active, batch, self.now)
        if fresh:
            self._prepare(fresh)
        elif batch:
            self._step(batch)
        for drawn in self.schedule.ending(self.active, self.now):
            seconds = self.finish_s + len(drawn)
            self.now += seconds
            self.schedule.finished(drawn, seconds)
            self.ended.append(drawn)
            self.active = [each for each in self.active if each not in drawn]

    def _prepare(self, fresh: Sequence[Entry]) -> None:
        seconds = self.prepare_s + len(fresh)
        self.now += seconds
        self.schedule.prepared(fresh, seconds)
        for each in fresh:
            each.state = FakeState(each.job, each.looks, each.job.steps)

    def _step(self, batch: Sequence[Entry]) -> None:
        key = batch[0].key()
        self.now += self.step_s
        self.schedule.stepped(key, len(batch), self.step_s)
        self.steps += 1
        for each in self.active:
            each.waited += 1
            self.longest = max(self.longest, each.waited if each.drawn else 0)
        for each in batch:
            assert isinstance(each.state, FakeState)
            each.state.done += 1
            each.waited, each.ready = 0, self.now


def practised(device: Device, *widths: int) -> Device:
    """Let the device make pictures in batches of these widths, until it is known what they take."""
    for width in widths * ENOUGH:
        device.come(*(picture() for _ in range(width)))
        while device.active:
            device.round()
    device.ended.clear()
    return device


Coming = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 12), st.sampled_from([8, 16]), st.sampled_from(Priority)),
    min_size=1,
    max_size=24,
)
Cost = st.floats(0, 100)


@given(Coming, Cost, Cost, Cost)
def test_everyone_is_decoded_once_and_nobody_waits_for_company_for_long(
    coming: list[tuple[int, int, int, Priority]], prepare_s: float, step_s: float, finish_s: float
) -> None:
    device = practised(Device(Schedule(MOST), prepare_s, step_s, finish_s), 1, 2, 3, 4)
    pictures = {picture(steps, width, priority): at for at, steps, width, priority in coming}
    for turn in range(2000):
        device.come(*(each for each, at in pictures.items() if at == turn))
        device.round()

    ended = [each for group in device.ended for each in group]
    assert (len(ended), set(ended)) == (len(pictures), set(pictures))
    assert device.longest <= AGEING
    assert all(len(group) <= MOST and len({each.key() for each in group}) == 1 for group in device.ended)


def test_who_would_be_decoded_with_the_next_waits_for_it() -> None:
    device = practised(Device(Schedule(MOST)), 1, 2, 3, 4)
    device.come(picture(steps=5), picture(steps=6), picture(steps=6))
    while device.active:
        device.round()

    assert [len(group) for group in device.ended] == [3]


def test_a_full_company_waits_for_nobody() -> None:
    device = practised(Device(Schedule(2)), 1, 2)
    one, two, three = picture(steps=5), picture(steps=5), picture(steps=6)
    device.come(one, two, three)
    while device.active:
        device.round()

    assert device.ended == [[one, two], [three]]


def test_a_lone_picture_waits_for_nobody() -> None:
    device = practised(Device(Schedule(MOST)), 1, 2, 3, 4)
    device.come(picture(steps=3))
    for _ in range(4):
        device.round()

    assert not device.active


def test_a_batch_that_does_not_fit_is_halved() -> None:
    schedule = Schedule(MOST)
    entries = [picture() for _ in range(4)]
    for each in entries:
        each.state = FakeState(each.job, "key", 3, rows=2)
    schedule.does_not_fit(entries)

    assert len(schedule.batch(entries)) == 2
