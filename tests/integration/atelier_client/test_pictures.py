"""`atelier image`: what it asks for, where it writes, and what it says when it cannot."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from atelier.imagegen.v1 import imagegen_pb2
from tests.integration.atelier_client.fake import PICTURE, Pictures, atelier, serving


@pytest.fixture
def pictures() -> Pictures:
    return Pictures()


@pytest.fixture
async def server(pictures: Pictures) -> AsyncIterator[str]:
    async with serving(pictures) as address:
        yield address


async def test_every_option_reaches_the_server(server: str, pictures: Pictures, tmp_path: Path) -> None:
    source, mask = tmp_path / "source.png", tmp_path / "mask.png"
    source.write_bytes(b"source")
    mask.write_bytes(b"mask")
    options = ["--source", str(source), "--mask", str(mask), "--strength", "0.5", "--negative", "rain"]
    options += ["--adapter", "ink", "--adapter", "oil:0.25", "--scheduler", "euler"]
    options += ["--safety", "flag", "--priority", "high"]
    result = await atelier("image", "a cat", *options, "-o", str(tmp_path / "cat.png"), "--server", server)
    assert result.exit_code == 0, result.output
    (asked,) = pictures.asked
    assert (asked.source.data, asked.source.mask, asked.source.strength) == (b"source", b"mask", 0.5)
    assert [(each.id, each.weight) for each in asked.adapters] == [("ink", 0.0), ("oil", 0.25)]
    assert not asked.adapters[0].HasField("weight")
    assert (asked.scheduler, asked.negative_prompt) == ("euler", "rain")
    assert (asked.safety, asked.priority) == (imagegen_pb2.SAFETY_POLICY_FLAG, imagegen_pb2.PRIORITY_HIGH)
    assert not asked.dry_run


async def test_a_dry_run_writes_nothing_and_shows_the_plan(server: str, pictures: Pictures, tmp_path: Path) -> None:
    file = tmp_path / "folder" / "cat.png"
    result = await atelier("image", "a cat", "--dry-run", "-o", str(file), "--server", server)
    assert result.exit_code == 0, result.output
    assert pictures.asked[0].dry_run
    assert "64x0" in result.stdout
    assert result.stdout.count("steps: 99 -> 50") == 1
    assert not file.parent.exists()


async def test_a_picture_may_go_to_standard_output_and_nothing_else_does(server: str) -> None:
    result = await atelier("image", "a cat", "-o", "-", "--server", server)
    assert result.stdout_bytes == PICTURE
    assert "adjusted" in result.stderr


async def test_a_server_of_this_machine_is_reached_without_the_proxy(
    server: str, unused_tcp_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_tcp_port}")
    result = await atelier("image", "a cat", "-o", str(tmp_path / "cat.png"), "--server", server)
    assert result.exit_code == 0, result.output


async def test_pictures_are_numbered(server: str, tmp_path: Path) -> None:
    result = await atelier("image", "a cat", "--count", "3", "-o", str(tmp_path / "cat.png"), "--server", server)
    assert result.exit_code == 0, result.output
    assert _names(tmp_path) == {"cat.png", "cat-2.png", "cat-3.png"}


def _names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


@pytest.mark.parametrize("wrong", ["long", "folder", "second", "nameless", "second long", "two to standard output"])
async def test_what_cannot_be_written_is_told_before_the_work(
    server: str, pictures: Pictures, tmp_path: Path, wrong: str
) -> None:
    (tmp_path / "cat-2.png").mkdir()
    outputs = {
        "long": [str(tmp_path / f"{'a' * 300}.png")],
        "folder": [str(tmp_path)],
        "second": [str(tmp_path / "cat.png"), "--count", "2"],
        "nameless": ["/", "--count", "2"],
        "second long": [str(tmp_path / f"{'a' * 251}.png"), "--count", "2"],
        "two to standard output": ["-", "--count", "2"],
    }
    result = await atelier("image", "a cat", "-o", *outputs[wrong], "--server", server)
    assert result.exit_code == 2
    assert "--output" in result.stderr
    assert not pictures.asked


async def test_a_disk_that_is_full_is_told_in_a_line(server: str) -> None:
    result = await atelier("image", "a cat", "-o", "/dev/full", "--server", server)
    assert result.exit_code == 1
    assert "error /dev/full cannot be written: No space left on device" in result.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--mask", "x"], "--source"),
        (["--strength", "0.5"], "--source"),
        (["--source", "/there/is/none"], "No such file"),
        (["--adapter", "ink:much"], "--adapter"),
        (["--size", "²x3"], "--size"),
        (["--priority", "urgent"], "low, normal, high"),
        (["--safety", "none"], "block, flag, ignore"),
    ],
)
async def test_a_wrong_option_is_told(options: list[str], told: str, tmp_path: Path) -> None:
    result = await atelier("image", "a cat", *options, "-o", str(tmp_path / "cat.png"), "--server", "127.0.0.1:1")
    assert result.exit_code in {1, 2}
    assert told in result.stderr


@pytest.mark.parametrize("command", [["status"], ["models"], ["route", "x"], ["voices"], ["load", "m"]])
async def test_a_server_that_does_not_serve_a_command_is_told_in_a_line(server: str, command: list[str]) -> None:
    result = await atelier(*command, "--server", server)
    assert result.exit_code == 1
    (line,) = filter(None, result.stderr.splitlines())
    assert f"{server} does not serve this command" in line
