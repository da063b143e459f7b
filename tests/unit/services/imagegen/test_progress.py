from services.imagegen.progress import Steps


def test_the_steps_of_all_pictures_are_added_up() -> None:
    steps = Steps(pictures=2, planned=3)
    heard = [steps.took(index, done, 3, now=0.0) for index, done in ((0, 1), (1, 1), (0, 2), (1, 2), (0, 3), (1, 3))]

    assert [(each.step, each.total) for each in heard] == [(done, 6) for done in range(1, 7)]


def test_a_new_attempt_adds_to_the_total_and_nothing_goes_back() -> None:
    steps = Steps(pictures=1, planned=2)
    heard = [steps.took(0, done, total, now=0.0) for done, total in ((1, 2), (2, 2), (1, 2), (2, 2), (1, 4), (2, 4))]

    assert [(each.step, each.total) for each in heard] == [(1, 2), (2, 2), (3, 4), (4, 4), (5, 8), (6, 8)]


def test_fewer_steps_than_planned_do_not_shrink_the_total() -> None:
    assert Steps(pictures=1, planned=5).took(0, 1, 3, now=0.0).total == 5


def test_what_is_left_is_estimated_from_the_pace_so_far() -> None:
    steps = Steps(pictures=1, planned=4)

    assert [steps.took(0, done, 4, now=float(done)).eta_s for done in (1, 2, 3, 4)] == [0.0, 2.0, 1.0, 0.0]
