from services.imagegen.events import Progress
from services.imagegen.progress import Steps


def told(steps: Steps, *taken: tuple[int, int, int], pause_s: float = 0.0) -> list[Progress]:
    """Return what is told of steps (picture, done, total), one a second."""
    heard = [steps.took(*step, now=number, pause_s=pause_s) for number, step in enumerate(taken, 1)]
    return [each for each in heard if each is not None]


def test_the_steps_of_all_pictures_are_added_up() -> None:
    taken = ((0, 1, 3), (1, 1, 3), (0, 2, 3), (1, 2, 3), (0, 3, 3), (1, 3, 3))
    heard = told(Steps(pictures=2, planned=3, now=0.0), *taken)

    assert [(each.step, each.total) for each in heard] == [(done, 6) for done in range(1, 7)]


def test_a_new_attempt_adds_to_the_total_and_nothing_goes_back() -> None:
    taken = ((0, 1, 2), (0, 2, 2), (0, 1, 2), (0, 2, 2), (0, 1, 4), (0, 2, 4))
    heard = told(Steps(pictures=1, planned=2, now=0.0), *taken)

    assert [(each.step, each.total) for each in heard] == [(1, 2), (2, 2), (3, 4), (4, 4), (5, 8), (6, 8)]


def test_fewer_steps_than_planned_do_not_shrink_the_total() -> None:
    assert told(Steps(pictures=1, planned=5, now=0.0), (0, 1, 3))[0].total == 5


def test_what_is_left_is_estimated_from_the_pace_so_far() -> None:
    heard = told(Steps(pictures=1, planned=4, now=0.0), *((0, done, 4) for done in (1, 2, 3, 4)))

    assert [each.eta_s for each in heard] == [0.0, 2.0, 1.0, 0.0]


def test_steps_are_told_no_sooner_after_another_than_allowed() -> None:
    steps = Steps(pictures=1, planned=7, now=0.0)
    heard = told(steps, *((0, done, 7) for done in range(1, 8)), pause_s=3.0)

    assert [each.step for each in heard] == [3, 6]


def test_steps_that_are_not_told_count_all_the_same() -> None:
    heard = told(Steps(pictures=2, planned=2, now=0.0), (0, 1, 2), (1, 1, 2), (0, 2, 2), (1, 2, 2), pause_s=4.0)

    assert [(each.step, each.total) for each in heard] == [(4, 4)]
