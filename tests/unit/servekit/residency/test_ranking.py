from servekit.residency import ReuseRate


def used(*keys: str) -> ReuseRate:
    ranking = ReuseRate()
    for key in keys:
        ranking.touch(key)
    return ranking


def worth(ranking: ReuseRate, key: str, *, cost_s: float = 1.0, size: int = 1) -> float:
    return ranking.worth(key, cost_s=cost_s, size=size)


def test_what_is_dear_per_byte_is_worth_more() -> None:
    ranking = used("a")
    assert worth(ranking, "a", cost_s=10.0, size=10) == worth(ranking, "a")
    assert worth(ranking, "a", cost_s=10.0, size=100) < worth(ranking, "a")


def test_what_was_never_used_is_worth_nothing() -> None:
    assert worth(used("a"), "b", cost_s=100.0) == 0.0


def test_what_is_used_often_is_worth_more_than_what_was_used_last() -> None:
    ranking = used("a", "a", "a", "b")
    assert worth(ranking, "a") > worth(ranking, "b")


def test_what_is_no_longer_used_loses_its_worth() -> None:
    ranking = used("a", "a", "a", *["b", "c"] * 10)
    assert worth(ranking, "a") < worth(ranking, "b")


def test_in_a_loop_age_does_not_count() -> None:
    ranking = used(*"abcd" * 3)
    assert len({worth(ranking, each) for each in "abcd"}) == 1


def test_only_the_last_uses_count() -> None:
    long_ago = ["b"] * 100
    assert worth(used("a", *long_ago, "a", "a", "a", "a"), "a") == 1.0
