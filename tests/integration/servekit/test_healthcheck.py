"""The health command against a real server, in a process of its own as a container runs it."""

import asyncio
import os
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from servekit.app import App
from servekit.clock import SystemClock
from servekit.healthcheck import ADDRESS_VARIABLE
from servekit.heartbeat import Heartbeat
from servekit.settings import ServerSettings
from servekit.testing import Toy, local


def _app(heartbeat: Heartbeat | None = None) -> App:
    settings = local(ServerSettings)
    return App(settings, Toy().register, registry=CollectorRegistry(), heartbeat=heartbeat)


async def _check(*arguments: str, **environment: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "servekit.healthcheck",
        *arguments,
        env=os.environ | environment,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    return process.returncode, errors.decode()


@pytest.mark.parametrize("service", ["", Toy.SERVICE, "liveness"])
async def test_a_server_that_serves_is_healthy(service: str) -> None:
    async with _app().serving() as address:
        assert await _check(address, "--service", service) == (0, "")


async def test_the_address_may_come_from_the_environment() -> None:
    async with _app().serving() as address:
        assert await _check(**{ADDRESS_VARIABLE: address}) == (0, "")


async def test_a_proxy_of_the_environment_is_not_asked(unused_tcp_port: int) -> None:
    proxy = {"http_proxy": f"http://127.0.0.1:{unused_tcp_port}", "no_proxy": "", "no_grpc_proxy": ""}
    async with _app().serving() as address:
        assert await _check(address, **proxy) == (0, "")


async def test_a_service_that_is_not_there_is_named() -> None:
    async with _app().serving() as address:
        code, errors = await _check(address, "--service", "no.such.Service")
    assert code == 1
    assert "no.such.Service: NOT_FOUND" in errors


async def test_no_server_is_not_healthy(unused_tcp_port: int) -> None:
    code, errors = await _check(f"127.0.0.1:{unused_tcp_port}", "--timeout", "1")
    assert code == 1
    assert f"127.0.0.1:{unused_tcp_port} server: UNAVAILABLE" in errors


async def test_a_server_whose_device_fails_serves_but_is_not_live() -> None:
    told = asyncio.Event()

    async def beat() -> None:
        try:
            raise RuntimeError("lost")
        finally:
            asyncio.get_running_loop().call_soon(told.set)

    heartbeat = Heartbeat(beat, clock=SystemClock(), stalled_after_s=60)
    async with _app(heartbeat).serving() as address:
        await told.wait()
        assert (await _check(address))[0] == 0
        assert await _check(address, "--service", "liveness") == (1, f"{address} liveness: NOT_SERVING\n")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--ca", "{pem}", "--cert", "{pem}"), "--cert and --key are given together or not at all"),
        (("--ca", "{pem}", "--key", "{pem}"), "--cert and --key are given together or not at all"),
        (("--cert", "{pem}", "--key", "{pem}"), "--cert and --key need --ca, without which there is no TLS"),
        (("--ca", "/nonexist"), "[Errno 2] No such file or directory: '/nonexist'"),
        (
            ("--ca", "{pem}", "--cert", "{pem}", "--key", "/nonexist"),
            "[Errno 2] No such file or directory: '/nonexist'",
        ),
    ],
)
async def test_options_that_are_of_no_use_are_one_clear_line(
    options: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    pem = tmp_path / "some.pem"
    pem.write_text("some")
    checked = await _check("127.0.0.1:1", *(each.format(pem=pem) for each in options))
    assert checked == (1, f"127.0.0.1:1 server: {told}\n")
