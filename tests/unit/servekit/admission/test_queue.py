import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servekit.admission import AdmissionQueue, Waiter
from servekit.admission.queue import Pace


def order(queue: AdmissionQueue) -> list[str]:
    """Admit and finish one after the other until nobody is left."""
    keys = []
    while queue.waiting or queue.running:
        keys += [waiter.key for waiter in queue.admit(0.0)]
        for waiter in list(queue.running):
            queue.leave(waiter, 0.0, completed=False)
    return keys


def filled(*keys: str, capacity: int = 1, max_bypass: int = 8) -> AdmissionQueue:
    queue = AdmissionQueue(capacity=capacity, limit=100, max_bypass=max_bypass)
    for key in keys:
        queue.join(key)
    return queue


def test_first_come_first_served() -> None:
    assert order(filled("a", "b", "c")) == ["a", "b", "c"]


def test_same_keys_go_together() -> None:
    assert order(filled("a", "b", "a", "b", "a")) == ["a", "a", "a", "b", "b"]


def test_grouping_stops_at_the_bound() -> None:
    assert order(filled("a", "b", "a", "a", "a", max_bypass=2)) == ["a", "a", "a", "b", "a"]


def test_priority_goes_before_arrival_and_grouping() -> None:
    queue = filled("a", "a")
    queue.join("b", priority=1)
    assert order(queue) == ["b", "a", "a"]


def test_the_oldest_goes_first_once_passed_over_often_enough() -> None:
    queue = AdmissionQueue(capacity=1, limit=100, max_passed_over=3)
    queue.join("low")
    for _ in range(5):
        queue.join("high", priority=1)
    assert order(queue) == ["high"] * 3 + ["low"] + ["high"] * 2


def test_capacity_bounds_what_runs() -> None:
    queue = filled("a", "b", "c", capacity=2)
    assert [waiter.key for waiter in queue.admit(0.0)] == ["a", "b"]
    assert queue.admit(0.0) == []


def test_full_counts_running_and_waiting() -> None:
    queue = AdmissionQueue(capacity=1, limit=1)
    queue.join("a")
    queue.admit(0.0)
    assert not queue.full
    queue.join("b")
    assert queue.full


def test_capacity_must_be_positive() -> None:
    with pytest.raises(ValueError, match="capacity must be at least 1"):
        AdmissionQueue(capacity=0, limit=1)


def test_position_counts_those_ahead() -> None:
    queue = filled("a", "b")
    urgent = queue.join("c", priority=1)
    assert [queue.position(each) for each in queue.waiting] == [0, 1, 2]
    assert queue.position(urgent) == 0


def test_the_wait_is_the_work_ahead_over_capacity() -> None:
    queue = AdmissionQueue(capacity=2, limit=10)
    queue.pace.record("a", 3.0)
    for _ in range(2):
        queue.join("a", work=2.0)
    queue.admit(now=0.0)
    first, second = queue.join("a", work=4.0, setup_s=1.0), queue.join("a")
    assert queue.wait_s(first, now=2.0) == (4.0 + 4.0) / 2
    assert queue.wait_s(second, now=2.0) == (4.0 + 4.0 + 13.0) / 2
    assert queue.newcomer_wait_s(now=2.0) == (4.0 + 4.0 + 13.0 + 3.0) / 2


def test_there_is_no_wait_while_a_place_is_free() -> None:
    queue = AdmissionQueue(capacity=2, limit=10)
    queue.pace.record("a", 3.0)
    queue.join("a")
    queue.admit(0.0)
    assert queue.newcomer_wait_s(0.0) == 0.0


def test_overdue_work_counts_as_nearly_done() -> None:
    queue = AdmissionQueue(capacity=1, limit=10)
    queue.pace.record("a", 3.0)
    queue.join("a")
    queue.admit(now=0.0)
    assert queue.newcomer_wait_s(now=99.0) == 0.0


def run_one(queue: AdmissionQueue, *, completed: bool, begin_at: float | None = None, setup_s: float = 0.0) -> None:
    waiter = queue.join("a", work=2.0, setup_s=setup_s)
    queue.admit(now=10.0)
    if begin_at is not None:
        queue.begin(waiter, begin_at)
    queue.leave(waiter, now=20.0, completed=completed)


def test_completed_work_sets_the_pace() -> None:
    queue = AdmissionQueue(capacity=1, limit=1)
    run_one(queue, completed=True)
    assert queue.pace.of("a") == 5.0


def test_failed_work_does_not_set_the_pace() -> None:
    queue = AdmissionQueue(capacity=1, limit=1)
    run_one(queue, completed=False)
    assert queue.pace.of("a") is None


@pytest.mark.parametrize(("begin_at", "setup_s"), [(16.0, 5.0), (None, 6.0)])
def test_setup_is_no_part_of_the_pace(begin_at: float | None, setup_s: float) -> None:
    queue = AdmissionQueue(capacity=1, limit=1)
    run_one(queue, completed=True, begin_at=begin_at, setup_s=setup_s)
    assert queue.pace.of("a") == 2.0


def test_pace_moves_towards_the_newest_measurement() -> None:
    pace = Pace()
    pace.record("a", 1.0)
    pace.record("a", 2.0)
    assert pace.of("a") == pytest.approx(1.2)


def test_what_was_measured_in_company_is_kept_apart() -> None:
    pace = Pace()
    pace.record("a", 1.0)
    pace.record("a", 5.0, company=8)
    assert (pace.of("a"), pace.of("a", company=8)) == (1.0, 5.0)


@pytest.mark.parametrize(("measured_in", "wanted", "expected"), [(8, 1, 1.0), (8, 4, 4.0), (1, 8, 8.0), (2, 64, 8.0)])
def test_other_company_than_was_measured_takes_as_long_at_least(measured_in: int, wanted: int, expected: float) -> None:
    pace = Pace()
    pace.record("a", 8.0, company=measured_in)
    assert pace.of("a", company=wanted) == expected


def test_company_is_the_mean_of_the_parts_that_ran() -> None:
    queue = AdmissionQueue(capacity=4, limit=4)
    alone = queue.join("a")
    queue.admit(now=0.0)
    beside = queue.join("a", parts=7)
    queue.admit(now=0.0)
    queue.leave(beside, now=8.0, completed=True)
    queue.leave(alone, now=8.0, completed=True)
    alone = queue.join("a")
    queue.admit(now=10.0)
    queue.leave(alone, now=12.0, completed=True)
    assert (queue.pace.of("a", company=1), queue.pace.of("a", company=8)) == (2.0, 8.0)


def test_a_burst_does_not_make_a_lone_request_seem_long() -> None:
    queue = AdmissionQueue(capacity=8, limit=8)
    for _ in range(8):
        queue.join("a")
    for waiter in queue.admit(now=0.0):
        queue.leave(waiter, now=16.0, completed=True)
    lone = queue.join("a")
    queue.admit(now=20.0)
    assert queue.service_s(lone) <= 2.0 * 2


def test_doubt_lets_an_estimate_come_down() -> None:
    pace = Pace()
    pace.record("a", 10.0)
    pace.doubt("a")
    pace.doubt("b")
    assert pace.of("a") == pytest.approx(9.0)


def test_unfinished_work_that_took_too_long_is_a_measurement() -> None:
    queue = AdmissionQueue(capacity=1, limit=1)
    queue.pace.record("a", 1.0)
    run_one(queue, completed=False)
    assert queue.pace.of("a") == pytest.approx(1.0 + 0.2 * (5.0 - 1.0))


def test_an_unknown_key_has_the_pace_of_all() -> None:
    pace = Pace()
    pace.record("a", 3.0)
    assert pace.of("b") == 3.0


Arrivals = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(0, 2)), max_size=40)
"""Key, priority, and how many running requests end before the next one arrives."""


def simulate(queue: AdmissionQueue, arrivals: list[tuple[str, int, int]]) -> list[tuple[Waiter, list[Waiter]]]:
    """Return each admission with those who were waiting before it."""
    admissions = []

    def admit() -> None:
        before = list(queue.waiting)
        for waiter in queue.admit(0.0):
            admissions.append((waiter, list(before)))
            before.remove(waiter)

    def end_one() -> None:
        if queue.running:
            queue.leave(queue.running[0], 0.0, completed=True)
            admit()

    for key, priority, ends in arrivals:
        queue.join(key, priority=priority)
        admit()
        for _ in range(ends):
            end_one()
    while queue.running:
        end_one()
    return admissions


@settings(max_examples=200, deadline=None)
@given(Arrivals, st.integers(1, 3), st.integers(0, 3), st.integers(0, 5))
def test_bounds_hold_whatever_arrives(
    arrivals: list[tuple[str, int, int]], capacity: int, max_bypass: int, max_passed_over: int
) -> None:
    queue = AdmissionQueue(capacity=capacity, limit=100, max_bypass=max_bypass, max_passed_over=max_passed_over)
    admissions = simulate(queue, arrivals)
    assert len(admissions) == len(arrivals)
    assert not queue.waiting
    for waiter, _ in admissions:
        waited = [(other, waiting) for other, waiting in admissions if waiter in waiting and other is not waiter]
        same_priority_later = [
            other for other, _ in waited if other.priority == waiter.priority and other.arrival > waiter.arrival
        ]
        assert waiter.bypassed <= max_bypass
        older = sum(other.arrival < waiter.arrival for other, _ in waited)
        assert len(waited) <= (older + 1) * (max_passed_over + 1)
        assert len(same_priority_later) <= max_bypass
