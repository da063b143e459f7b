"""The command as a process: encodings, pipes and the version."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.atelier_client.fake import Pictures, atelier, serving

PROGRAM = "from atelier_client.cli import main; main()"


def _process(*arguments: str, into: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
    with Path(into or os.devnull).open("wb") as file:
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments],
            stdout=file if into else subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, **environment},
            check=False,
        )


async def _run(*arguments: str, into: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the command; what it prints goes `into` a file, or is returned."""
    return await asyncio.to_thread(_process, *arguments, into=into, **environment)


async def test_what_the_terminal_cannot_show_is_escaped(tmp_path: Path) -> None:
    async with serving(Pictures()) as address:
        ended = await _run(
            "image", "x", "-o", str(tmp_path / "gató.png"), "--server", address, PYTHONIOENCODING="ascii"
        )
    assert ended.returncode == 0, ended.stderr
    assert "gat\\xf3.png" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["say", "Olá"], "text: no valid Unicode"),
        (["voices", "--language", "á"], "language: no valid Unicode"),
        (["voices", "--server", "á:1"], "is no host:port"),
        (["--api-key", "á", "voices"], "printable ASCII"),
    ],
)
async def test_arguments_that_the_locale_cannot_read_are_told(arguments: list[str], told: str, tmp_path: Path) -> None:
    output = ["-o", str(tmp_path / "x.wav")] if arguments[0] == "say" else []
    ended = await _run(*arguments, *output, LC_ALL="POSIX", PYTHONUTF8="0")
    assert ended.returncode in {1, 2}
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("error", ["ImportError", "OSError", "RuntimeError"])
async def test_the_doctor_tells_that_torch_is_broken(error: str, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text(f"raise {error}('libcudart.so.12: cannot open shared object file')")
    ended = await _run("doctor", PYTHONPATH=str(tmp_path))
    assert ended.returncode == 1
    assert "BAD torch works    no: libcudart.so.12: cannot open shared object file" in ended.stdout
    assert ended.stderr == ""


async def test_standard_output_that_is_full_is_told_in_a_line() -> None:
    ended = await _run("key", "new", "ann", into="/dev/full")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == "error standard output: No space left on device"
    assert "Traceback" not in ended.stderr


async def test_the_version_is_shown() -> None:
    result = await atelier("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("atelier")


@pytest.mark.parametrize("timeout", ["nan", "0", "-1"])
async def test_what_is_no_timeout_is_refused(timeout: str) -> None:
    result = await atelier("voices", f"--timeout={timeout}")
    assert result.exit_code == 2
    assert "timeout" in result.stderr
