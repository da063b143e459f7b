"""A real process: what it logs, how it takes signals, the code it exits with."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from servekit.testing import ToyClient

SCRIPT = Path(__file__).with_name("toy_process.py")
ROOT = SCRIPT.parents[3]


class ToyProcess:
    """The process and what it logged so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self.told: list[str] = []
        """Lines that are no log records."""

    async def logged(self, prefix: str) -> dict[str, Any]:
        """Wait for the next line whose message begins with `prefix`."""
        assert self.process.stderr is not None
        async for raw in self.process.stderr:
            self._keep(raw)
            if self.lines and self.lines[-1]["message"].startswith(prefix):
                return self.lines[-1]
        raise AssertionError(f"no line {prefix!r}, only {self.lines}")

    async def exited(self) -> int:
        """Wait for the end and return the exit code."""
        assert self.process.stderr is not None
        async for raw in self.process.stderr:
            self._keep(raw)
        return await self.process.wait()

    def _keep(self, raw: bytes) -> None:
        if raw.startswith(b"{"):  # gRPC's core writes lines of its own
            self.lines.append(json.loads(raw))
        else:
            self.told.append(raw.decode().rstrip())

    def messages(self) -> list[str]:
        """Return the messages logged so far."""
        return [line["message"] for line in self.lines]


Launch = Callable[..., Awaitable[ToyProcess]]


@pytest.fixture
async def launch() -> AsyncIterator[Launch]:
    processes: list[asyncio.subprocess.Process] = []

    async def start(*args: str, **settings: str) -> ToyProcess:
        names = {f"ATELIER_{name.upper()}": value for name, value in settings.items()}
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **names}
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(SCRIPT), *args, env=environment, stderr=asyncio.subprocess.PIPE
        )
        processes.append(process)
        return ToyProcess(process)

    yield start
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("uvloop", ["true", "false"])
async def test_a_signal_lets_the_stream_in_flight_finish(launch: Launch, number: int, uvloop: str) -> None:
    toy = await launch(uvloop=uvloop)
    address = (await toy.logged("listening"))["address"]
    await toy.logged("ready")
    async with grpc.aio.insecure_channel(address) as channel:
        call = ToyClient(channel).call("Each")
        await call.write(StringValue(value="before"))
        assert (await call.read()).value == "before"
        toy.process.send_signal(number)
        await toy.logged("draining")
        await call.write(StringValue(value="after"))
        assert (await call.read()).value == "after"
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.OK
    assert await toy.exited() == 0
    assert toy.messages()[-2:] == ["drained", "stopped"]


async def test_a_second_signal_cuts_the_drain_short(launch: Launch) -> None:
    toy = await launch(grace_s="1000")
    address = (await toy.logged("listening"))["address"]
    await toy.logged("ready")
    async with grpc.aio.insecure_channel(address) as channel:
        call = ToyClient(channel).call("Each")
        await call.write(StringValue(value="before"))
        await call.read()
        toy.process.terminate()
        await toy.logged("draining")
        toy.process.terminate()
        assert await call.code() is grpc.StatusCode.UNAVAILABLE
    assert await toy.exited() == 128 + signal.SIGTERM
    assert "stopped" in toy.messages()


async def test_a_third_signal_ends_a_process_whose_device_hangs(launch: Launch) -> None:
    toy = await launch("stuck", grace_s="1000")
    address = (await toy.logged("listening"))["address"]
    await toy.logged("ready")
    async with grpc.aio.insecure_channel(address) as channel:
        call = ToyClient(channel).call("Unary", "for ever")
        await toy.logged("stuck")
        for answer in ("draining", "cut short"):
            toy.process.terminate()
            await toy.logged(answer)
        toy.process.send_signal(signal.SIGINT)
        assert await call.code() is not grpc.StatusCode.OK
    assert await toy.exited() == 128 + signal.SIGINT
    assert toy.messages()[-1] == f"ended at once by signal {signal.SIGINT:d}"


async def test_a_signal_during_the_start_gives_it_up(launch: Launch) -> None:
    toy = await launch("hangs")
    await toy.logged("listening")
    toy.process.terminate()
    assert await toy.exited() == 128 + signal.SIGTERM
    assert "stopped" in toy.messages()
    assert not any(message.startswith("ready") for message in toy.messages())


async def test_a_start_that_fails_is_one_clear_line(launch: Launch) -> None:
    toy = await launch("fails")
    assert await toy.exited() == 1
    (line,) = [line for line in toy.lines if line["level"] == "ERROR"]
    assert line["message"] == "failed: ModelUnavailable: no weights at /nowhere; set ATELIER_WEIGHTS"
    assert "exception" not in line


async def test_an_address_that_is_taken_is_one_clear_line(launch: Launch) -> None:
    address = (await (await launch()).logged("listening"))["address"]
    second = await launch(port=address.rpartition(":")[2])
    assert await second.exited() == 1
    (line,) = [line for line in second.lines if line["level"] == "ERROR"]
    assert line["message"] == f"failed: OSError: cannot listen on {address}: Address already in use"


async def test_a_host_that_is_not_here_is_one_clear_line(launch: Launch) -> None:
    toy = await launch(host="192.0.2.1", allow_unauthenticated="true")
    assert await toy.exited() == 1
    (line,) = [line for line in toy.lines if line["level"] == "ERROR"]
    assert line["message"] == "failed: OSError: cannot listen on 192.0.2.1:0: Cannot assign requested address"


async def test_a_wrong_setting_is_one_clear_line(launch: Launch) -> None:
    toy = await launch(port="abc")
    assert await toy.exited() == 1
    (line,) = toy.told
    assert line.startswith("cannot start: ATELIER_PORT: Input should be a valid integer")


async def test_a_file_that_is_not_there_is_one_clear_line(launch: Launch) -> None:
    toy = await launch(callers_file="/nonexist")
    assert await toy.exited() == 1
    assert toy.told == ["cannot start: ATELIER_CALLERS_FILE: No such file or directory (got '/nonexist')"]


async def test_a_callers_file_that_is_wrong_names_the_variable(launch: Launch, tmp_path: Path) -> None:
    file = tmp_path / "callers.toml"
    file.write_text("caller = 1\ncolour = 'red'")
    toy = await launch(callers_file=str(file))
    assert await toy.exited() == 1
    assert [line.split(": ")[:4] for line in toy.told] == [
        ["cannot start", "ATELIER_CALLERS_FILE", str(file), name] for name in ("caller", "colour")
    ]


async def test_an_audit_log_that_cannot_be_written_names_the_variable(launch: Launch, tmp_path: Path) -> None:
    callers = tmp_path / "callers.toml"
    callers.touch()
    toy = await launch(callers_file=str(callers), audit_file="/nonexist/audit.log")
    assert await toy.exited() == 1
    (line,) = toy.told
    assert line == "cannot start: ATELIER_AUDIT_FILE: [Errno 2] No such file or directory: '/nonexist/audit.log'"


async def test_a_public_address_without_authentication_is_refused_and_what_to_set_is_told(launch: Launch) -> None:
    toy = await launch(host="0.0.0.0")
    assert await toy.exited() == 1
    (line,) = toy.told
    assert line.startswith("cannot start: ATELIER_*: host 0.0.0.0 is reachable from outside: set callers_file, or")


async def test_every_mistake_found_while_building_has_a_line(launch: Launch) -> None:
    toy = await launch("misbuilt")
    assert await toy.exited() == 1
    assert toy.told == ["cannot start: catalog.toml: row 1: id", "cannot start: catalog.toml: row 2: bytes"]
