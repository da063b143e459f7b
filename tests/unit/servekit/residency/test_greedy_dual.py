from servekit.residency.greedy_dual import GreedyDual


def test_what_is_cheap_per_byte_goes_first() -> None:
    policy = GreedyDual()
    policy.touch("dear", cost=10.0, size=10)
    policy.touch("big", cost=10.0, size=100)
    policy.touch("cheap", cost=0.5, size=10)
    assert policy.order(["dear", "big", "cheap"]) == ["cheap", "big", "dear"]


def test_equals_go_by_last_use() -> None:
    policy = GreedyDual()
    for key in ("a", "b", "a"):
        policy.touch(key, cost=1.0, size=1)
    assert policy.order(["a", "b"]) == ["b", "a"]


def test_a_dear_item_grows_old() -> None:
    policy = GreedyDual()
    policy.touch("dear", cost=3.0, size=1)
    victims = []
    while "dear" not in victims:
        policy.touch("cheap", cost=1.0, size=1)
        victims.append(policy.order(["dear", "cheap"])[0])
        policy.forget(victims[-1], victim=True)
    assert victims == ["cheap", "cheap", "dear"]


def test_only_victims_move_the_clock() -> None:
    policy = GreedyDual()
    policy.touch("gone", cost=5.0, size=1)
    policy.forget("gone", victim=False)
    policy.touch("old", cost=2.0, size=1)
    assert policy.outranks(3.0, 1, "old")
    assert not policy.outranks(1.0, 1, "old")
