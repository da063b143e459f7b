"""Callers with keys, at a real server."""

import asyncio
import logging
import os
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from servekit import context
from servekit.keys import new_key
from servekit.testing import ManualClock, ToyClient
from tests.integration.servekit.access.conftest import Door

Metadata = tuple[tuple[str, str], ...]


def bearer(key: str, *more: tuple[str, str]) -> Metadata:
    return (("authorization", f"Bearer {key}"), *more)


async def _ask(address: str, metadata: Metadata = (), method: str = "Unary") -> list[str]:
    async with grpc.aio.insecure_channel(address) as channel:
        return await ToyClient(channel).ask(method, "?", metadata=metadata)


async def _refusal(address: str, metadata: Metadata = (), method: str = "Unary") -> tuple[grpc.StatusCode, Any]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _ask(address, metadata, method)
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(caught.value)
    assert status is not None
    assert any(detail.Unpack(info) for detail in status.details)
    return caught.value.code(), info


async def test_a_key_names_its_caller(door: Door, method: str) -> None:
    key = door.admit("ann")
    assert await _ask(await door.open(), bearer(key), method) == ["ann"]


@pytest.mark.parametrize(
    ("metadata", "cause"),
    [
        ((), "missing"),
        ((("authorization", ""),), "missing"),
        ((("authorization", "Basic YTpi"),), "missing"),
        (bearer(""), "key"),
        (bearer("secret"), "key"),
        (bearer(new_key()[0]), "key"),
    ],
)
async def test_nobody_comes_in_without_a_good_one(door: Door, metadata: Metadata, cause: str) -> None:
    door.admit()
    code, info = await _refusal(await door.open(), metadata)
    assert (code, info.reason, info.metadata["cause"]) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "UNAUTHENTICATED",
        cause,
    )
    await door.close()
    assert door.refused(cause) == 1


async def test_no_kind_of_call_gets_around_the_door(door: Door, method: str) -> None:
    door.admit()
    code, _ = await _refusal(await door.open(), (), method)
    assert code is grpc.StatusCode.UNAUTHENTICATED


async def test_the_right_id_does_not_help_a_wrong_secret(door: Door) -> None:
    key = door.admit()
    _, info = await _refusal(await door.open(), bearer(key[:-1] + ("A" if key[-1] != "A" else "B")))
    assert info.metadata["cause"] == "key"


async def test_a_key_is_revoked_by_removing_it_from_the_file(door: Door) -> None:
    clock = ManualClock()
    key = door.admit("ann")
    address = await door.open(clock=clock)
    async with grpc.aio.insecure_channel(address) as channel:
        toy = ToyClient(channel)
        assert await toy.ask("Unary", "?", metadata=bearer(key)) == ["ann"]
        door.callers.write_text("")
        clock.advance(1.0)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await toy.ask("Unary", "?", metadata=bearer(key))
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_broken_file_locks_nobody_out_and_is_measured(door: Door) -> None:
    clock = ManualClock()
    key = door.admit("ann")
    address = await door.open(clock=clock)
    door.callers.write_text("[[caller")
    clock.advance(1.0)
    assert await _ask(address, bearer(key)) == ["ann"]
    assert door.registry.get_sample_value("servekit_callers_file_stale") == 1


async def test_a_broken_file_is_measured_although_nobody_calls(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, told = ManualClock(), asyncio.Event()
    monkeypatch.setattr(logging.getLogger("servekit.access.watched"), "error", lambda *_: told.set())
    door.admit("ann")
    await door.open(clock=clock)
    door.callers.write_text("[[caller")
    await asyncio.sleep(0)  # until the watch sleeps
    clock.advance(1.0)
    await told.wait()
    assert door.registry.get_sample_value("servekit_callers_file_stale") == 1


async def test_a_role_is_needed(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    key = door.admit("ann", 'roles = ["cloner"]')
    code, info = await _refusal(await door.open(), bearer(key))
    assert (code, info.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
    assert dict(info.metadata) == {"cause": "role", "role": "user"}


async def test_calls_that_come_too_fast_are_told_when_to_come_back(door: Door, method: str) -> None:
    key = door.admit("ann", "requests_per_second = 0.001\nburst = 2")
    address = await door.open()
    for _ in range(2):
        await _ask(address, bearer(key), method)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _ask(address, bearer(key), method)
    status = rpc_status.from_call(caught.value)
    assert status is not None
    retry, info = error_details_pb2.RetryInfo(), error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(retry) for detail in status.details)
    assert any(detail.Unpack(info) for detail in status.details)
    assert (caught.value.code(), info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
    assert 0 < retry.retry_delay.ToTimedelta().total_seconds() <= 1000
    await door.close()
    assert door.refused("rate_limited") == 1


async def test_calls_under_way_are_counted(door: Door, method: str) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def wait(text: str) -> str:
        begun.set()
        await may_end.wait()
        return text

    key = door.admit("ann", "concurrent_calls = 1")
    address = await door.open(wait)
    first = asyncio.create_task(_ask(address, bearer(key), method))
    await begun.wait()
    code, info = await _refusal(address, bearer(key), method)
    assert (code, info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
    may_end.set()
    await first
    await _ask(address, bearer(key), method)


async def test_a_call_that_was_cancelled_frees_its_place(door: Door) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def wait(text: str) -> str:
        if text == "now":
            return text
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return text

    key = door.admit("ann", "concurrent_calls = 1")
    async with grpc.aio.insecure_channel(await door.open(wait)) as channel:
        call = ToyClient(channel).call("Unary", "wait", metadata=bearer(key))
        await begun.wait()
        call.cancel()
        await ended.wait()
        assert await ToyClient(channel).ask("Unary", "now", metadata=bearer(key)) == ["now"]


async def test_a_service_that_speaks_for_others_is_believed(door: Door, method: str) -> None:
    async def tell(text: str) -> str:
        call = context.current()
        return f"{call.caller} via {call.via}, at most {call.priority_ceiling}"

    key = door.admit("router", "speaks_for_others = true")
    told = (("x-atelier-caller", "zo%C3%AB"), ("x-atelier-priority", "low"))
    assert await _ask(await door.open(tell), bearer(key, *told), method) == ["zoë via router, at most low"]


async def test_a_name_that_cannot_be_printed_is_none(door: Door) -> None:
    key = door.admit("router", "speaks_for_others = true")
    told = ("x-atelier-caller", "ann%0Abob")
    assert await _ask(await door.open(), bearer(key, told)) == ["router"]


async def test_nobody_else_may_speak_for_others(door: Door, method: str) -> None:
    key = door.admit("ann")
    code, info = await _refusal(await door.open(), bearer(key, ("x-atelier-caller", "bob")), method)
    assert (code, info.metadata["cause"]) == (grpc.StatusCode.PERMISSION_DENIED, "speaks_for_others")


async def test_the_highest_priority_is_the_callers_own(door: Door) -> None:
    async def ceiling(text: str) -> str:
        return context.current().priority_ceiling

    key = door.admit("ann", 'priority = "normal"')
    assert await _ask(await door.open(ceiling), bearer(key, ("x-atelier-priority", "high"))) == ["normal"]


async def test_health_needs_no_key(door: Door) -> None:
    door.admit()
    async with grpc.aio.insecure_channel(await door.open(reflection="guarded")) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize(
    ("setting", "with_key", "code"),
    [
        ("open", False, grpc.StatusCode.OK),
        ("guarded", False, grpc.StatusCode.UNAUTHENTICATED),
        ("guarded", True, grpc.StatusCode.OK),
        ("off", True, grpc.StatusCode.UNIMPLEMENTED),
    ],
)
async def test_reflection_is_open_guarded_or_off(
    door: Door, setting: str, with_key: bool, code: grpc.StatusCode
) -> None:
    key = door.admit()
    async with grpc.aio.insecure_channel(await door.open(reflection=setting)) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        requests = [reflection_pb2.ServerReflectionRequest(list_services="")]
        call = stub.ServerReflectionInfo(iter(requests), metadata=bearer(key) if with_key else ())
        try:
            assert [each.WhichOneof("message_response") async for each in call] == ["list_services_response"]
        except grpc.aio.AioRpcError:
            assert code is not grpc.StatusCode.OK
        assert await call.code() is code


async def test_refused_calls_are_written_down_without_their_content(door: Door, method: str) -> None:
    key = door.admit("ann", 'roles = ["cloner"]')
    await _refusal(await door.open(), bearer(key, ("x-request-id", "id-7")), method)
    await door.close()
    (line,) = door.audited()
    facts = {name: line[name] for name in ("caller", "credential", "method", "outcome", "code", "cause", "request_id")}
    assert facts == {
        "caller": "ann",
        "credential": f"key {key.split('_')[1]}",
        "method": f"/servekit.toy.v1.ToyService/{method}",
        "outcome": "refused",
        "code": "PERMISSION_DENIED",
        "cause": "role",
        "request_id": "id-7",
    }
    assert key not in str(line)


async def test_ordinary_calls_are_written_down_if_asked_for(door: Door) -> None:
    key = door.admit("ann")
    address = await door.open(audit="all")
    await _ask(address, bearer(key))
    await door.close()
    assert [(line["caller"], line["outcome"]) for line in door.audited()] == [("ann", "done")]


async def test_ordinary_calls_are_not_written_down_otherwise(door: Door) -> None:
    key = door.admit("ann")
    await _ask(await door.open(), bearer(key))
    await door.close()
    assert door.audited() == []


async def test_without_a_file_of_its_own_the_audit_log_is_in_the_ordinary_one_whatever_its_level(
    door: Door, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    door.admit()
    monkeypatch.setattr(logging.getLogger(), "level", logging.ERROR)
    await _refusal(await door.open(audit_file=None))
    await door.close()
    assert [each.message for each in caplog.records if each.name == "servekit.audit"] == ["access"]


async def test_the_audit_log_may_be_rotated(door: Door) -> None:
    door.admit()
    address = await door.open()
    await _refusal(address)
    old = door.callers.with_name("audit.log")
    old.rename(door.callers.with_name("audit.log.1"))
    await _refusal(address)
    await door.close()
    assert len(door.audited()) == 1


def test_a_wrong_file_is_told_at_the_start(door: Door) -> None:
    os.close(os.open(door.callers, os.O_CREAT))
    door.callers.write_text("[[caller]]")
    with pytest.raises(ValueError, match=r"callers\.toml: caller\.0\.name: Field required"):
        asyncio.run(door.open())
