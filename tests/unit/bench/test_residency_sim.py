"""The simulated server, and what the residency policy must win on its traces."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench._residency import PLACES, Arrival, Machine, Outcome, Policy, Simulation
from bench._traces import SIZES, TRACES
from bench.residency_sim import KEEP_LAST, LRU, OURS, LeastRecentlyUsed, compare, most_that_always_fit
from servekit.residency import Ledger, ModelState

SMALL = Machine(device_bytes=10, host_bytes=6, disk_pace=1.0, link_pace=10.0, setup_s=0.5)
MODELS = ("a", "b", "c", "d")
POLICIES = [
    Policy("ours"),
    Policy("ours without host tier", host_tier=False),
    Policy("lru", LeastRecentlyUsed, host_tier=False, grouping=0),
]
Traces = st.lists(
    st.builds(Arrival, st.floats(0, 60), st.sampled_from(MODELS), st.floats(0, 9)), min_size=1, max_size=40
)
Sizes = st.fixed_dictionaries({model: st.integers(1, 10) for model in MODELS})


@cache
def compared(trace: str) -> dict[str, Outcome]:
    return compare(TRACES[trace](), Machine())


class Watcher:
    """Looks at the ledger after every event: never over budget, never without a leased model."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self, ledger: Ledger) -> None:
        self.looks += 1
        assert ledger.room.used_bytes <= ledger.room.budget_bytes
        assert ledger.room.host_used_bytes <= ledger.room.host_budget_bytes
        assert all(entry.state is ModelState.READY for entry in ledger.entries if entry.leases)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
@settings(max_examples=40, deadline=None)
@given(sizes=Sizes, trace=Traces)
def test_never_over_budget_never_without_a_leased_model_and_every_request_ends(
    policy: Policy, sizes: dict[str, int], trace: list[Arrival]
) -> None:
    watcher = Watcher()
    outcome = Simulation(sizes, SMALL, policy, watch=watcher).run(trace)
    assert len(outcome.waits_s) == len(trace)
    assert watcher.looks >= 2 * len(trace)


@settings(max_examples=40, deadline=None)
@given(sizes=Sizes, trace=Traces)
def test_nobody_starves(sizes: dict[str, int], trace: list[Arrival]) -> None:
    """Each request ahead costs at most its service, a load and the evictions for it; passing is bounded."""
    outcome = Simulation(sizes, SMALL, Policy("ours")).run(trace)
    longest = max(each.service_s for each in trace)
    dearest = SMALL.load_s(10) + len(MODELS) * 10 / SMALL.link_pace
    assert outcome.worst_wait_s <= (len(trace) + PLACES) * (longest + dearest)


def test_a_lone_request_waits_for_its_load() -> None:
    outcome = Simulation({"a": 4}, SMALL, Policy("ours")).run([Arrival(3.0, "a", 2.0)])
    assert (outcome.waits_s, outcome.hits, outcome.swap_s) == ([4.5], 0, 4.5)


def test_what_was_evicted_comes_back_by_a_copy() -> None:
    trace = [Arrival(10.0 * index, model, 1.0) for index, model in enumerate("aba")]
    outcome = Simulation({"a": 6, "b": 6}, SMALL, Policy("ours")).run(trace)
    assert outcome.actions == {"load": 2, "load from host": 1, "evict": 2}
    assert outcome.waits_s[2] < outcome.waits_s[0]


def test_a_run_can_be_repeated() -> None:
    assert all(make() == make() for make in TRACES.values())
    assert compare(TRACES["adversarial"](), Machine()) == compared("adversarial")


@pytest.mark.parametrize("other", [LRU, KEEP_LAST])
@pytest.mark.parametrize("trace", TRACES)
def test_ours_wins_or_ties(trace: str, other: str) -> None:
    ours, theirs = compared(trace)[OURS], compared(trace)[other]
    assert ours.swap_s <= theirs.swap_s
    assert ours.hit_rate >= theirs.hit_rate
    assert ours.worst_wait_s <= theirs.worst_wait_s


def test_bursts_cost_a_quarter_less_swapping() -> None:
    outcomes = compared("bursty")
    assert outcomes[OURS].swap_s <= 0.75 * min(outcomes[LRU].swap_s, outcomes[KEEP_LAST].swap_s)


def test_the_count_of_peers_always_fits() -> None:
    count = most_that_always_fit(Machine())
    largest = sorted(SIZES.values(), reverse=True)
    assert sum(largest[:count]) <= Machine().device_bytes < sum(largest[: count + 1])
