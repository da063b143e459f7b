"""The simulation of batching behind `bench.batching_sim` and `bench.imagegen_throughput`, by hand."""

from collections.abc import Callable, Sequence

import pytest

from bench._batches import Asked, Device, join_between_steps, whole_pictures

How = Callable[[Sequence[Asked], Device], list[float]]
FLAT = Device(step=[1.0] * 8)
"""A step takes a second, however many pictures share it."""


@pytest.mark.parametrize("gain", [1.2, 4.0, 7.9])
def test_a_device_gains_what_it_is_made_to_gain(gain: float) -> None:
    device = Device.gaining(gain)

    assert device.rate(14) / device.single(14) == pytest.approx(gain)


@pytest.mark.parametrize("how", [join_between_steps, whole_pictures])
def test_pictures_far_apart_take_their_own_steps(how: How) -> None:
    assert how([Asked(0.0, 4), Asked(100.0, 7)], FLAT) == [4.0, 7.0]


def test_who_comes_in_between_joins_at_the_next_step() -> None:
    assert join_between_steps([Asked(0.0, 4), Asked(1.5, 4)], FLAT) == [4.0, 4.5]


def test_who_comes_in_between_waits_for_a_whole_picture() -> None:
    assert whole_pictures([Asked(0.0, 4), Asked(1.5, 4)], FLAT) == [4.0, 6.5]


def test_whole_pictures_of_other_steps_wait_for_a_batch_of_their_own() -> None:
    assert whole_pictures([Asked(0.0, 1), Asked(0.5, 2), Asked(0.6, 3), Asked(0.7, 2)], FLAT) == pytest.approx(
        [1.0, 2.5, 2.3, 5.4]
    )


def test_no_more_than_eight_run_at_once() -> None:
    assert sorted(join_between_steps([Asked(0.0, 2) for _ in range(9)], FLAT)) == [2.0] * 8 + [4.0]


@pytest.mark.parametrize("how", [join_between_steps, whole_pictures])
def test_who_comes_together_begins_and_ends_together(how: How) -> None:
    device = Device(step=[1.0] * 8, prepare=[0.1, 0.2] + [9.0] * 6, finish=[0.3, 0.4] + [9.0] * 6)

    assert how([Asked(0.0, 4), Asked(0.0, 4)], device) == pytest.approx([4.6] * 2)


def test_who_joins_or_leaves_keeps_those_who_stay_waiting() -> None:
    device = Device(step=[1.0] * 8, prepare=[0.1] * 8, finish=[0.2] * 8)

    assert join_between_steps([Asked(0.0, 2), Asked(0.5, 2)], device) == pytest.approx([2.4, 3.1])


def test_who_ends_waits_for_the_next_unless_told_not_to() -> None:
    device = Device(step=[1.0] * 8, finish=[2.0 + 0.1 * width for width in range(1, 9)])
    asked = [Asked(0.0, 2), Asked(0.0, 3)]

    assert join_between_steps(asked, device) == pytest.approx([5.2, 5.2])
    assert join_between_steps(asked, device, gather=False) == pytest.approx([4.1, 7.2])


def test_who_begins_waits_for_company_for_as_long_as_that_may_pay() -> None:
    device = Device(step=[1.0] * 8, prepare=[2.0 + 0.1 * width for width in range(1, 9)])
    asked = [Asked(0.0, 9), Asked(0.0, 9), Asked(2.5, 1), Asked(3.5, 1)]

    assert join_between_steps(asked, device) == pytest.approx([7.9, 6.9, 13.4, 13.4])
    assert join_between_steps(asked, device, gather=False) == pytest.approx([5.9, 4.9, 15.4, 15.4])
