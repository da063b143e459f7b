"""What holds whatever is asked: the ledger against random requests, leases, pins, failures and wrong estimates."""

from collections.abc import Callable, Mapping
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from servekit.errors import DeviceOutOfMemory
from servekit.residency import (
    Action,
    Drop,
    Evict,
    EvictReason,
    Ledger,
    Load,
    ModelBusy,
    ModelSpec,
    ModelState,
    Request,
    RequestState,
)

BUDGET, HOST_BUDGET, MAX_BYPASS = 10, 6, 2
MODELS = ("a", "b", "c", "d")
Models = st.sampled_from(MODELS)


class LedgerMachine(RuleBasedStateMachine):
    """Asks at random, does what the ledger wants done, and looks over its shoulder."""

    @initialize(sizes=st.lists(st.integers(1, 11), min_size=4, max_size=4), exclusive=st.lists(Models, max_size=1))
    def begin(self, sizes: list[int], exclusive: list[str]) -> None:
        specs = [
            ModelSpec(each, size, load_s=float(size), exclusive=each in exclusive)
            for each, size in zip(MODELS, sizes, strict=True)
        ]
        self.ledger = Ledger(specs, budget_bytes=BUDGET, host_budget_bytes=HOST_BUDGET, max_bypass=MAX_BYPASS)
        self.real = dict(zip(MODELS, sizes, strict=True))
        self.requests: list[Request] = []
        self.action: Action | None = None
        self.unloading: set[str] = set()
        self.now = 0.0

    def advance(self) -> None:
        self.now += 1.0
        self.unloading = {each for each in self.unloading if self.ledger.entry(each).state is not ModelState.ABSENT}
        free_before = self.ledger.room.free_bytes
        result = self.ledger.advance(self.now)
        granted = [each for each in result.settled if each.state is RequestState.GRANTED]
        assert not granted or free_before >= 0, "a lease while the device is over its budget"
        assert all(self.ledger.entry(each.model_id).state is ModelState.READY for each in granted)
        if result.action is not None:
            assert self.action is None, "two actions at once"
            self.action = result.action
            self.check_action(result.action)
        self.check()

    def check(self) -> None:
        self.what_is_over_the_budget_leaves()
        self.what_is_asked_to_unload_leaves_device_and_host()
        self.host_memory_is_within_its_budget_or_being_freed()
        self.nobody_is_bypassed_beyond_the_bound()
        self.leases_are_counted()

    def check_action(self, action: Action) -> None:
        entry = self.ledger.entry(action.model_id)
        match action:
            case Evict():
                assert not entry.leases
                assert not entry.pinned or self.ledger.room.free_bytes < 0
            case Load():
                assert self.ledger.room.free_bytes >= 0
                assert action.from_host == (entry.host_bytes > 0)
            case Drop():
                assert entry.host_bytes > 0

    def serve(self, model: str) -> None:
        """Load a model into free room and use it for a moment."""
        self.ask(model)
        self.do()
        self.ledger.release(self.leased()[0], self.now)
        self.advance()

    def leased(self) -> list[Request]:
        return [each for each in self.requests if each.state is RequestState.GRANTED]

    def waiting(self) -> list[Request]:
        return [each for each in self.requests if each.state is RequestState.WAITING]

    @rule(model=Models)
    def ask(self, model: str) -> None:
        self.requests.append(self.ledger.request(model))
        self.advance()

    @precondition(lambda self: self.leased())
    @rule(data=st.data())
    def end_lease(self, data: st.DataObject) -> None:
        self.ledger.release(data.draw(st.sampled_from(self.leased())), self.now)
        self.advance()

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def stop_waiting(self, data: st.DataObject) -> None:
        self.ledger.withdraw(data.draw(st.sampled_from(self.waiting())))
        self.advance()

    @rule(model=Models, pinned=st.booleans())
    def pin(self, model: str, pinned: bool) -> None:
        self.ledger.pin(model, pinned)
        if pinned:  # which may take an unload back
            self.unloading.discard(model)
        self.advance()

    @rule(model=Models)
    def unload(self, model: str) -> None:
        with suppress(ModelBusy):
            self.ledger.unload(model)
            self.unloading.add(model)
        self.advance()

    @rule(idle_s=st.sampled_from([0.0, 5.0]))
    def expire(self, idle_s: float) -> None:
        self.ledger.expire(self.now, idle_s)
        self.advance()

    @rule(model=Models, size=st.integers(1, 11))
    def resize(self, model: str, size: int) -> None:
        self.ledger.resized(model, size)
        self.advance()

    @rule()
    def evict_idle(self) -> None:
        self.ledger.evict_idle()
        self.advance()

    @precondition(lambda self: self.action is not None)
    @rule(heavier=st.integers(-3, 3), keeps_copy=st.booleans())
    def do(self, heavier: int = 0, keeps_copy: bool = False) -> None:
        action, self.action = self.action, None
        match action:
            case Load(model_id):
                if not self.ledger.entry(model_id).measured:
                    self.real[model_id] = max(1, self.real[model_id] + heavier)
                size = self.real[model_id]
                self.ledger.loaded(
                    model_id, bytes_on_device=size, host_bytes=size * keeps_copy, seconds=float(size), now=self.now
                )
            case Evict(model_id, reason, park):
                self.ledger.evicted(model_id, reason, host_bytes=self.real[model_id] * park)
            case Drop(model_id):
                self.ledger.dropped(model_id)
        self.advance()

    @precondition(lambda self: isinstance(self.action, Load))
    @rule(how=st.sampled_from(["fails", "out of memory", "cancelled"]))
    def break_load(self, how: str) -> None:
        assert self.action is not None
        model_id, self.action = self.action.model_id, None
        if how == "fails":
            self.ledger.load_failed(model_id, KeyError(model_id))
        elif how == "cancelled":
            self.ledger.load_cancelled(model_id)
        else:
            self.ledger.load_out_of_memory(model_id, DeviceOutOfMemory(wanted_bytes=2, free_bytes=1))
        self.advance()

    def what_is_over_the_budget_leaves(self) -> None:
        leaving = [each for each in self.ledger.entries if each.doom is not None or each.state is ModelState.EVICTING]
        bytes_to_come = sum(each.footprint(BUDGET) for each in leaving if each.occupies)
        assert self.ledger.room.free_bytes + bytes_to_come >= 0

    def what_is_asked_to_unload_leaves_device_and_host(self) -> None:
        assert all(self.ledger.entry(each).doom is EvictReason.UNLOAD for each in self.unloading)

    def host_memory_is_within_its_budget_or_being_freed(self) -> None:
        if self.ledger.room.host_used_bytes > HOST_BUDGET:
            assert self.action is not None

    def nobody_is_bypassed_beyond_the_bound(self) -> None:
        assert all(each.bypassed <= MAX_BYPASS for each in self.requests)

    def leases_are_counted(self) -> None:
        for entry in self.ledger.entries:
            assert entry.leases == sum(each.model_id == entry.spec.model_id for each in self.leased())
            assert not entry.leases or entry.state is ModelState.READY

    def teardown(self) -> None:
        """Every request ends, if every lease and every action does: without new requests, in bounded time."""
        if not hasattr(self, "ledger"):
            return
        for _ in range(20 * (len(self.requests) + len(MODELS))):
            if self.action is not None:
                self.do()
            elif self.leased():
                self.ledger.release(self.leased()[0], self.now)
                self.advance()
        assert not self.waiting()
        assert self.action is None


COMING = "c"
ORDERS: Mapping[str, Callable[[LedgerMachine], None]] = {
    "pin": lambda machine: machine.pin("a", True),
    "unpin": lambda machine: machine.pin("a", False),
    "unload": lambda machine: machine.unload("a"),
    "unload what is coming": lambda machine: machine.unload(COMING),
    "expire": lambda machine: machine.expire(0.0),
    "evict idle": lambda machine: machine.evict_idle(),
    "grow": lambda machine: machine.resize("a", BUDGET),
    "shrink": lambda machine: machine.resize("a", 1),
}
ENDS: Mapping[str, Callable[[LedgerMachine], None]] = {
    "well": lambda machine: machine.do(),
    "cancelled": lambda machine: machine.break_load("cancelled"),
    "out of memory": lambda machine: machine.break_load("out of memory"),
}
Orders = st.lists(st.sampled_from(list(ORDERS)), min_size=4, max_size=10)


@settings(max_examples=300, deadline=None)
@given(
    resident=st.sampled_from(["a", "ab"]),
    wanted=st.booleans(),
    during=Orders,
    end=st.sampled_from(list(ENDS)),
    after=Orders,
)
def test_what_is_ordered_during_a_load_holds_after_it(
    resident: str, wanted: bool, during: list[str], end: str, after: list[str]
) -> None:
    machine = LedgerMachine()
    machine.begin([4, 3, 3, 1], [])
    machine.serve(COMING)
    machine.evict_idle()
    machine.do()
    for model in resident:
        machine.serve(model)
    machine.ask(COMING)
    if not wanted:
        machine.ledger.withdraw(machine.waiting()[0])
    for order in during:
        ORDERS[order](machine)
    ENDS[end](machine)
    for order in after:
        ORDERS[order](machine)
    machine.teardown()


class Crowd:
    """Asks for every model all the time, each next lease before the last one ends, so that none is idle for long."""

    def __init__(self, sizes: list[int]) -> None:
        specs = [ModelSpec(each, size, load_s=float(size)) for each, size in zip(MODELS, sizes, strict=True)]
        self.ledger = Ledger(specs, budget_bytes=BUDGET, max_bypass=MAX_BYPASS)
        self.requests: list[Request] = []
        self.most_turns_waited = 0
        self._turns_waited: dict[Request, int] = {}

    def turn(self, order: list[str]) -> None:
        before = [each for each in self.requests if each.state is RequestState.GRANTED]
        waiting = {each.model_id for each in self.requests if each.state is RequestState.WAITING}
        for model in order:
            if model not in waiting:
                self.requests.append(self.ledger.request(model))
                self.settle()
        for lease in before:
            self.ledger.release(lease, 0.0)
            self.settle()
        self.requests = [each for each in self.requests if each.state is not RequestState.ENDED]
        for request in self.requests:
            self._turns_waited[request] = self._turns_waited.get(request, 0) + 1
        self.most_turns_waited = max(self._turns_waited.values())

    def settle(self) -> None:
        while (action := self.ledger.advance(0.0).action) is not None:
            match action:
                case Load(model_id):
                    size = self.ledger.entry(model_id).bytes
                    self.ledger.loaded(model_id, bytes_on_device=size, seconds=1.0, now=0.0)
                case Evict(model_id, reason, _):
                    self.ledger.evicted(model_id, reason)
                case Drop(model_id):
                    self.ledger.dropped(model_id)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 10), min_size=4, max_size=4), st.lists(st.permutations(MODELS), min_size=30, max_size=30)
)
def test_nobody_starves_in_a_crowd(sizes: list[int], orders: list[list[str]]) -> None:
    crowd = Crowd(sizes)
    for order in orders:
        crowd.turn(order)
    assert crowd.most_turns_waited <= len(MODELS) * (MAX_BYPASS + 2)


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
