from collections.abc import Sequence

import pytest

from servekit.errors import DeviceOutOfMemory, Draining
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


class Device:
    """Drives a ledger by hand: `next` is what it wants done, `do` does it well."""

    def __init__(
        self, sizes: dict[str, int], budget: int, host: int = 0, max_bypass: int = 8, exclusive: Sequence[str] = ()
    ) -> None:
        specs = [ModelSpec(each, size, load_s=10.0, exclusive=each in exclusive) for each, size in sizes.items()]
        self.ledger = Ledger(specs, budget_bytes=budget, host_budget_bytes=host, max_bypass=max_bypass)
        self.now = 0.0
        self.next: Action | None = None
        self.log: list[Action] = []

    def advance(self) -> Action | None:
        action = self.ledger.advance(self.now).action
        if action is not None:
            self.next = action
            self.log.append(action)
        return action

    def ask(self, model_id: str) -> Request:
        request = self.ledger.request(model_id)
        self.advance()
        return request

    def end(self, request: Request) -> None:
        self.ledger.release(request, self.now)
        self.advance()

    def do(self, *, size: int | None = None, seconds: float = 10.0, host_bytes: int = 0) -> None:
        action, self.next = self.next, None
        match action:
            case Load(model_id):
                size = self.ledger.entry(model_id).bytes if size is None else size
                self.ledger.loaded(model_id, bytes_on_device=size, host_bytes=host_bytes, seconds=seconds, now=self.now)
            case Evict(model_id, reason, park):
                kept = self.ledger.entry(model_id).bytes if park else 0
                self.ledger.evicted(model_id, reason, host_bytes=kept)
            case Drop(model_id):
                self.ledger.dropped(model_id)
            case None:
                raise AssertionError("nothing to do")
        self.advance()

    def settle(self, seconds: float = 10.0) -> list[Action]:
        """Do all that is wanted and return it."""
        begin = len(self.log) - (self.next is not None)
        while self.next is not None:
            self.do(seconds=seconds)
        return self.log[begin:]

    def use(self, *model_ids: str, seconds: float = 10.0) -> None:
        """Lease each model for a moment, one after the other; a load takes `seconds`."""
        for model_id in model_ids:
            request = self.ask(model_id)
            self.settle(seconds)
            self.end(request)
            self.settle()

    def state(self, model_id: str) -> ModelState:
        return self.ledger.status(self.now).model(model_id).state


def evict(model_id: str, reason: EvictReason = EvictReason.ROOM, park: bool = False) -> Evict:
    return Evict(model_id, reason, park)


def load(model_id: str, from_host: bool = False) -> Load:
    return Load(model_id, from_host)


def test_the_first_request_loads() -> None:
    device = Device({"a": 4}, budget=10)
    request = device.ask("a")
    assert device.state("a") is ModelState.LOADING
    device.do()
    assert request.state is RequestState.GRANTED
    assert device.state("a") is ModelState.READY


def test_requests_share_one_load() -> None:
    device = Device({"a": 4}, budget=10)
    requests = [device.ask("a") for _ in range(3)]
    assert device.settle() == [load("a")]
    assert [each.state for each in requests] == [RequestState.GRANTED] * 3
    assert device.ledger.entry("a").leases == 3


def test_loads_are_one_at_a_time_while_the_device_serves() -> None:
    device = Device({"a": 2, "b": 2, "c": 2}, budget=10)
    device.use("a")
    device.ask("b")
    device.ask("c")
    assert [device.state(each) for each in "bc"] == [ModelState.LOADING, ModelState.QUEUED]
    assert device.ask("a").state is RequestState.GRANTED
    assert device.settle() == [load("b"), load("c")]


def test_the_least_valuable_idle_model_makes_room() -> None:
    device = Device({"a": 4, "b": 4, "c": 4}, budget=8)
    device.use("a", "b", "a")
    device.ask("c")
    assert device.settle() == [evict("b"), load("c")]


def test_what_is_dear_to_reload_stays() -> None:
    device = Device({"dear": 4, "cheap": 4, "c": 4}, budget=8)
    device.use("dear", seconds=100.0)
    device.use("cheap", seconds=1.0)
    device.ask("c")
    assert device.settle() == [evict("cheap"), load("c")]


def test_no_more_is_evicted_than_needed() -> None:
    device = Device({"small": 2, "big": 6, "c": 6}, budget=8)
    device.use("small", seconds=1.0)
    device.use("big", seconds=100.0)
    device.ask("c")
    assert device.settle() == [evict("big"), load("c")]


def test_a_leased_model_is_waited_for() -> None:
    device = Device({"a": 6, "b": 6}, budget=8)
    lease = device.ask("a")
    device.settle()
    waiting = device.ask("b")
    assert device.next is None
    device.end(lease)
    assert device.settle() == [evict("a"), load("b")]
    assert waiting.state is RequestState.GRANTED


def test_idle_models_leave_rather_than_waiting_for_a_lease() -> None:
    device = Device({"leased": 4, "idle": 4, "c": 4}, budget=8)
    device.ask("leased")
    device.settle()
    device.use("idle")
    device.ask("c")
    assert device.settle() == [evict("idle"), load("c")]


def test_a_model_that_must_leave_takes_a_bounded_number_of_new_leases() -> None:
    device = Device({"a": 6, "b": 6}, budget=8, max_bypass=2)
    leases = [device.ask("a")]
    device.settle()
    waiting = device.ask("b")
    later = [device.ask("a") for _ in range(4)]
    assert [each.state is RequestState.GRANTED for each in later] == [True, True, False, False]
    for lease in [*leases, *later[:2]]:
        device.end(lease)
    assert device.settle() == [evict("a"), load("b")]
    device.end(waiting)
    assert device.settle() == [evict("b"), load("a")]
    assert all(each.state is RequestState.GRANTED for each in later[2:])


def test_a_model_that_may_stay_serves_on() -> None:
    device = Device({"a": 6, "small": 1, "b": 6}, budget=8, max_bypass=0)
    device.use("small")
    device.ask("a")
    device.settle()
    device.ask("b")
    assert all(device.ask("small").state is RequestState.GRANTED for _ in range(20))


def test_two_busy_models_cannot_take_turns_in_holding_up_a_third() -> None:
    device = Device({"a": 5, "b": 5, "c": 1}, budget=10, max_bypass=0)
    leases = {model_id: [device.ask(model_id), device.ask(model_id)] for model_id in "ab"}
    device.settle()
    waiting = device.ask("c")
    for model_id in "abab":
        device.end(leases[model_id].pop(0))
        device.settle()
        leases[model_id].append(device.ask(model_id))
    assert waiting.state is RequestState.GRANTED


def test_loads_go_in_the_order_of_arrival() -> None:
    device = Device({"a": 6, "b": 6, "small": 1}, budget=8)
    lease = device.ask("a")
    device.settle()
    device.ask("b")
    assert device.ask("small").state is RequestState.WAITING
    device.end(lease)
    assert device.settle() == [evict("a"), load("b"), load("small")]


def test_a_pinned_model_stays() -> None:
    device = Device({"a": 4, "b": 4, "c": 4}, budget=8)
    device.use("a", "b")
    device.ledger.pin("a", True)
    device.ask("c")
    assert device.settle() == [evict("b"), load("c")]


def test_a_pin_keeps_what_was_about_to_leave() -> None:
    device = Device({"a": 2, "b": 2}, budget=10)
    device.use("a")
    device.ask("b")
    device.ledger.evict_idle()
    device.ledger.pin("a", True)
    assert device.settle() == [load("b")]
    assert device.state("a") is ModelState.READY


def test_a_pin_takes_back_an_unload_that_has_not_begun() -> None:
    device = Device({"a": 2}, budget=10)
    device.ledger.withdraw(device.ask("a"))
    device.ledger.unload("a")
    device.ledger.pin("a", True)
    assert device.settle() == [load("a")]
    assert device.state("a") is ModelState.READY


@pytest.mark.parametrize("expired", [False, True])
def test_a_pin_does_not_keep_what_is_over_the_budget(expired: bool) -> None:
    device = Device({"a": 4, "b": 4}, budget=10)
    device.use("a")
    device.ask("b")
    device.ledger.resized("a", 11)
    if expired:
        device.ledger.expire(now=100.0, idle_s=60.0)
    device.ledger.pin("a", True)
    assert device.settle() == [load("b"), evict("a", EvictReason.MEMORY)]


def test_a_pin_has_others_leave_for_what_is_over_the_budget() -> None:
    device = Device({"a": 4, "b": 2, "c": 2}, budget=10)
    device.use("a", "b")
    device.ask("c")
    device.ledger.unload("a")
    device.ledger.resized("b", 7)
    device.ledger.pin("a", True)
    assert device.settle() == [load("c"), evict("b", EvictReason.MEMORY)]
    assert device.state("a") is ModelState.READY


@pytest.mark.parametrize(("pinned", "free"), [(False, 8), (True, 5)])
def test_what_can_never_fit_fails_at_once(pinned: bool, free: int) -> None:
    device = Device({"a": 3, "huge": 9}, budget=8)
    device.use("a")
    device.ledger.pin("a", pinned)
    request = device.ask("huge")
    assert isinstance(request.error, DeviceOutOfMemory)
    assert (request.error.wanted_bytes, request.error.free_bytes) == (9, free)
    assert request.state is RequestState.FAILED


def test_a_pin_fails_who_waited_for_those_bytes() -> None:
    device = Device({"a": 6, "b": 6}, budget=8)
    device.ask("a")
    device.settle()
    waiting = device.ask("b")
    device.ledger.pin("a", True)
    device.advance()
    assert isinstance(waiting.error, DeviceOutOfMemory)


def test_an_exclusive_model_empties_the_device_first() -> None:
    device = Device({"a": 2, "b": 2, "alone": 3}, budget=10, exclusive=["alone"])
    device.use("a", "b")
    device.ask("alone")
    assert device.settle() == [evict("a"), evict("b"), load("alone")]


def test_an_exclusive_model_leaves_for_any_other() -> None:
    device = Device({"a": 2, "alone": 3}, budget=10, exclusive=["alone"])
    device.use("alone")
    device.ask("a")
    assert device.settle() == [evict("alone"), load("a")]


def test_the_measured_size_replaces_the_estimate() -> None:
    device = Device({"a": 6, "b": 6}, budget=8)
    device.ask("a")
    device.do(size=2)
    device.ask("b")
    assert device.settle() == [load("b")]
    assert device.ledger.status(0.0).used_bytes == 8


def test_a_model_heavier_than_its_estimate_makes_idle_ones_leave_before_it_is_leased() -> None:
    device = Device({"a": 4, "b": 2}, budget=8)
    device.use("a")
    request = device.ask("b")
    device.do(size=6)
    assert not device.ledger.entry("b").leases
    assert device.settle() == [evict("a", EvictReason.MEMORY)]
    assert request.state is RequestState.GRANTED


def test_what_leaves_already_makes_room_for_a_model_heavier_than_its_estimate() -> None:
    device = Device({"a": 4, "b": 4, "c": 1}, budget=10)
    device.use("a", "b", "b")
    device.ask("c")
    device.ledger.unload("b")
    device.do(size=5)
    assert device.settle() == [evict("b", EvictReason.UNLOAD)]
    assert device.state("a") is ModelState.READY


def test_a_model_heavier_than_its_estimate_leaves_if_nothing_else_can() -> None:
    device = Device({"a": 4, "b": 2}, budget=8)
    lease = device.ask("a")
    device.settle()
    request = device.ask("b")
    device.do(size=6)
    assert device.settle() == [evict("b", EvictReason.MEMORY)]
    device.end(lease)
    assert device.settle() == [evict("a"), load("b")]
    assert request.state is RequestState.GRANTED


def test_a_model_that_took_on_weight_makes_idle_ones_leave() -> None:
    device = Device({"a": 4, "b": 4}, budget=10)
    device.use("a")
    lease = device.ask("b")
    device.settle()
    device.ledger.resized("b", 7)
    device.advance()
    assert device.settle() == [evict("a", EvictReason.MEMORY)]
    assert device.ledger.status(device.now).used_bytes == 7
    device.end(lease)
    assert device.state("b") is ModelState.READY


def test_what_a_model_took_on_it_leaves_behind() -> None:
    device = Device({"a": 4}, budget=10)
    lease = device.ask("a")
    device.settle()
    device.ledger.resized("a", 12)
    device.end(lease)
    assert device.settle() == [evict("a", EvictReason.MEMORY)]
    device.use("a")
    assert device.ledger.entry("a").bytes == 4


def test_a_model_in_use_that_was_too_heavy_for_a_moment_stays() -> None:
    device = Device({"a": 4}, budget=10)
    device.ask("a")
    device.settle()
    device.ledger.resized("a", 12)
    second = device.ask("a")
    assert second.state is RequestState.WAITING
    device.ledger.resized("a", 4)
    device.advance()
    assert (second.state, device.settle()) == (RequestState.GRANTED, [])


def test_a_pinned_model_that_was_too_heavy_for_a_moment_stays() -> None:
    device = Device({"a": 1, "b": 8}, budget=10)
    device.use("a")
    device.ledger.pin("a", True)
    device.ask("b")
    device.ledger.resized("a", 3)
    device.ledger.load_failed("b", KeyError("b"))
    device.next = None
    assert device.advance() is None
    assert device.state("a") is ModelState.READY


def test_a_model_found_too_heavy_for_the_device_fails_its_requests() -> None:
    device = Device({"a": 4}, budget=8)
    request = device.ask("a")
    device.do(size=9)
    device.settle()
    assert isinstance(request.error, DeviceOutOfMemory)
    assert device.state("a") is ModelState.ABSENT


def test_out_of_memory_evicts_everything_idle_and_tries_once_more() -> None:
    device = Device({"a": 1, "b": 1, "c": 1}, budget=8)
    device.use("a", "b")
    request = device.ask("c")
    assert device.ledger.load_out_of_memory("c", DeviceOutOfMemory(wanted_bytes=5, free_bytes=2))
    device.advance()
    assert device.settle() == [evict("a", EvictReason.MEMORY), evict("b", EvictReason.MEMORY), load("c")]
    assert request.state is RequestState.GRANTED


def test_out_of_memory_twice_fails_with_the_bytes() -> None:
    device = Device({"a": 1}, budget=8)
    request = device.ask("a")
    error = DeviceOutOfMemory(wanted_bytes=5, free_bytes=2)
    assert device.ledger.load_out_of_memory("a", error)
    device.advance()
    assert not device.ledger.load_out_of_memory("a", error)
    device.advance()
    assert request.error is error
    assert device.state("a") is ModelState.FAILED


def test_a_failed_load_fails_who_waits_and_nobody_else() -> None:
    device = Device({"a": 1, "b": 1}, budget=8)
    failing, waiting = device.ask("a"), device.ask("b")
    device.ledger.load_failed("a", KeyError("weights"))
    device.advance()
    assert isinstance(failing.error, KeyError)
    assert device.settle() == [load("b")]
    assert waiting.state is RequestState.GRANTED
    assert device.ledger.status(0.0).model("a").error == "'weights'"


def test_after_a_failure_loading_may_be_tried_again() -> None:
    device = Device({"a": 1}, budget=8)
    device.ask("a")
    device.ledger.load_failed("a", KeyError("weights"))
    device.advance()
    request = device.ask("a")
    device.settle()
    assert request.state is RequestState.GRANTED
    assert device.ledger.status(0.0).model("a").error == ""


def test_a_load_that_nobody_waits_for_is_orphaned() -> None:
    device = Device({"a": 1}, budget=8)
    first, second = device.ask("a"), device.ask("a")
    device.ledger.withdraw(first)
    assert device.ledger.orphaned_load is None
    device.ledger.withdraw(second)
    assert device.ledger.orphaned_load == "a"


def test_a_cancelled_load_begins_again_for_who_has_come_since() -> None:
    device = Device({"a": 1}, budget=8)
    device.ledger.withdraw(device.ask("a"))
    request = device.ask("a")
    device.ledger.load_cancelled("a")
    device.advance()
    assert device.settle() == [load("a")]
    assert request.state is RequestState.GRANTED


def test_who_stops_waiting_holds_nobody_up() -> None:
    device = Device({"a": 6, "b": 6, "small": 1}, budget=8)
    device.ask("a")
    device.settle()
    blocking = device.ask("b")
    device.ask("small")
    device.ledger.withdraw(blocking)
    device.advance()
    assert device.settle() == [load("small")]


def test_unload_frees_device_and_host() -> None:
    device = Device({"a": 4, "b": 4}, budget=4, host=8)
    device.use("a", "b")
    for model_id in "ab":
        device.ledger.unload(model_id)
    device.advance()
    assert device.settle() == [Drop("a"), evict("b", EvictReason.UNLOAD)]
    status = device.ledger.status(0.0)
    assert (status.used_bytes, status.host_used_bytes) == (0, 0)


def test_unload_while_being_evicted_drops_the_host_copy_too() -> None:
    device = Device({"a": 4, "b": 4}, budget=4, host=8)
    device.use("a")
    device.ask("b")
    assert device.next == evict("a", park=True)
    device.ledger.unload("a")
    assert device.settle() == [evict("a", park=True), Drop("a"), load("b")]


@pytest.mark.parametrize("meanwhile", ["idle", "out of memory", "overweight"])
def test_a_weaker_reason_to_leave_does_not_take_the_place_of_an_unload(meanwhile: str) -> None:
    device = Device({"a": 4, "b": 4}, budget=10, host=10)
    device.use("a")
    device.ask("b")
    device.ledger.unload("a")
    if meanwhile == "idle":
        device.ledger.expire(now=100.0, idle_s=60.0)
    elif meanwhile == "out of memory":
        device.ledger.evict_idle()
    device.do(size=8 if meanwhile == "overweight" else 4)
    assert device.settle() == [evict("a", EvictReason.UNLOAD)]


def test_unload_of_a_load_that_stops_drops_the_host_copy_it_came_from() -> None:
    device = Device({"a": 4}, budget=4, host=4)
    device.use("a")
    device.ledger.evict_idle()
    device.advance()
    device.settle()
    request = device.ask("a")
    assert device.next == load("a", from_host=True)
    device.ledger.withdraw(request)
    device.ledger.unload("a")
    device.ledger.load_cancelled("a")
    device.advance()
    assert device.settle() == [Drop("a")]


@pytest.mark.parametrize("why", ["use it", "pinned", "wait for it"])
def test_a_busy_model_cannot_be_unloaded(why: str) -> None:
    device = Device({"a": 4}, budget=8)
    request = device.ask("a")
    if why != "wait for it":
        device.settle()
    if why == "pinned":
        device.ledger.pin("a", True)
        device.end(request)
    with pytest.raises(ModelBusy, match=why):
        device.ledger.unload("a")


def test_unloading_what_is_absent_does_nothing() -> None:
    device = Device({"a": 4}, budget=8)
    device.ledger.unload("a")
    assert device.advance() is None
    assert device.ledger.entry("a").doom is None


def test_the_idle_leave_after_the_timeout() -> None:
    device = Device({"a": 1, "b": 1, "c": 1}, budget=8)
    device.use("a", "b", "c")
    device.ledger.pin("c", True)
    device.now = 50.0
    device.use("b")
    device.now = 100.0
    device.ledger.expire(device.now, idle_s=60.0)
    device.advance()
    assert device.settle() == [evict("a", EvictReason.IDLE)]


def test_a_lease_is_not_idle_however_long() -> None:
    device = Device({"a": 1}, budget=8)
    device.ask("a")
    device.settle()
    device.ledger.expire(now=1e9, idle_s=1.0)
    assert device.advance() is None


def test_an_evicted_model_is_kept_in_host_memory_and_comes_back_from_there() -> None:
    device = Device({"a": 4, "b": 4}, budget=4, host=4)
    device.use("a")
    device.ask("b")
    assert device.settle() == [evict("a", park=True), load("b")]
    assert device.state("a") is ModelState.HOST


def test_coming_back_from_host_memory() -> None:
    device = Device({"a": 4, "b": 4}, budget=4, host=8)
    device.use("a", "b")
    device.ask("a")
    assert device.settle() == [evict("b", park=True), load("a", from_host=True)]
    assert device.ledger.status(0.0).host_used_bytes == 4


def test_the_copy_that_is_waited_for_is_not_dropped_for_another() -> None:
    device = Device({"a": 4, "b": 4}, budget=4, host=4)
    device.use("a", "b")
    device.ask("a")
    assert device.settle() == [evict("b", park=False), load("a", from_host=True)]


def test_a_dearer_model_takes_the_place_of_a_cheaper_one_in_host_memory() -> None:
    device = Device({"cheap": 4, "dear": 4, "c": 4}, budget=4, host=4)
    device.use("cheap", seconds=1.0)
    device.use("dear", seconds=100.0)
    device.ask("c")
    assert device.settle() == [Drop("cheap"), evict("dear", park=True), load("c")]


def test_copies_over_the_host_budget_are_dropped() -> None:
    device = Device({"a": 2, "b": 2}, budget=8, host=4)
    device.use("a")
    device.ask("b")
    device.do(host_bytes=6)
    assert device.settle() == [Drop("b")]
    assert device.state("b") is ModelState.READY


def test_close_fails_who_waits_and_empties_everything_as_leases_end() -> None:
    device = Device({"a": 4, "b": 4, "c": 4}, budget=8, host=8)
    device.use("b", "c")
    lease = device.ask("a")
    device.settle()
    device.ledger.pin("c", True)
    waiting = device.ask("b")
    device.ledger.close(Draining("stopping", retry_after_s=1.0))
    device.advance()
    assert isinstance(waiting.error, Draining)
    device.settle()
    assert device.state("a") is ModelState.READY
    device.end(lease)
    device.settle()
    assert {device.state(each) for each in "abc"} == {ModelState.ABSENT}
    assert isinstance(device.ask("a").error, Draining)


def test_the_time_to_load_is_known() -> None:
    device = Device({"a": 4, "b": 4}, budget=4, host=4)
    entry = device.ledger.entry("a")
    assert entry.next_load_s == 10.0
    request = device.ask("a")
    device.do(seconds=3.0)
    assert entry.next_load_s == 0.0
    device.end(request)
    device.ask("b")
    device.settle()
    assert entry.next_load_s == entry.restore_s < 1.0
