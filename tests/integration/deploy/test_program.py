"""A program is ready inside its block, gone after it, and one that fails says why. The programs are real processes."""

import os
import signal
import sys
from pathlib import Path

import pytest

from deploy.local.ports import unused
from deploy.local.program import Program, ProgramFailed


def python(folder: Path, code: str, port: int, *, ready_seconds: float = 60.0) -> Program:
    """Return a program of Python: `code` may use `port` and `pid`, a file for its own number."""
    head = f"import http.server, os, pathlib, signal, time; port = {port}; pid = pathlib.Path({str(folder / 'pid')!r})"
    return Program(
        (sys.executable, "-c", f"{head}; pid.write_text(str(os.getpid())); {code}"),
        folder / "log",
        f"http://127.0.0.1:{port}/",
        ready_seconds=ready_seconds,
    )


SERVES = "http.server.HTTPServer(('127.0.0.1', port), http.server.SimpleHTTPRequestHandler).serve_forever()"


def runs(folder: Path) -> bool:
    try:
        os.kill(int((folder / "pid").read_text()), 0)
    except ProcessLookupError:
        return False
    return True


async def test_it_runs_inside_the_block_and_no_longer(tmp_path: Path) -> None:
    async with python(tmp_path, SERVES, unused(1)[0]) as program:
        await program.lives(0)
        assert runs(tmp_path)
    assert not runs(tmp_path)


async def test_one_that_ends_says_why(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailed, match=r"ended with code 1:\nno port"):
        await python(tmp_path, "raise SystemExit('no port')", unused(1)[0]).__aenter__()


async def test_one_that_is_never_ready_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailed, match="not ready after 2 s"):
        await python(tmp_path, "time.sleep(600)", unused(1)[0], ready_seconds=2).__aenter__()
    assert not runs(tmp_path)


async def test_its_end_is_noticed_at_once(tmp_path: Path) -> None:
    async with python(tmp_path, SERVES, unused(1)[0]) as program:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
        with pytest.raises(ProgramFailed, match="ended with code -9"):
            await program.lives(60)


def test_ports_differ() -> None:
    assert len(set(unused(8))) == 8
