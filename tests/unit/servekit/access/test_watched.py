import asyncio
from pathlib import Path

import pytest

from servekit.access.watched import Watched
from servekit.testing import ManualClock


def _number(file: Path) -> int:
    return int(file.read_text())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "number"
    file.write_text("1")
    return file


def test_a_change_is_seen_within_a_second(file: Path) -> None:
    clock = ManualClock()
    watched = Watched(file, _number, clock)
    file.write_text("22")
    assert watched.get() == 1
    clock.advance(1.0)
    assert watched.get() == 22


@pytest.mark.parametrize("text", ["wrong", None])
def test_a_file_that_is_wrong_or_gone_leaves_what_it_said(
    file: Path, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    watched = Watched(file, _number, clock)
    file.unlink() if text is None else file.write_text(text)
    clock.advance(1.0)
    assert watched.get() == 1
    assert watched.stale
    assert "what it said before stays in force" in caplog.text
    file.write_text("333")
    clock.advance(1.0)
    assert watched.get() == 333
    assert not watched.stale


def test_a_mistake_is_told_once(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    watched = Watched(file, _number, clock)
    file.write_text("wrong")
    for _ in range(3):
        clock.advance(1.0)
        watched.get()
    assert len(caplog.records) == 1


def test_the_first_look_must_succeed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Watched(tmp_path / "none", _number, ManualClock())


def test_a_mounted_secret_is_followed_when_its_link_moves(tmp_path: Path) -> None:
    """Kubernetes swaps a symbolic link to a folder."""
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "number").write_text(version)
    current = tmp_path / "current"
    current.symlink_to("1")
    clock = ManualClock()
    watched = Watched(current / "number", _number, clock)
    current.unlink()
    current.symlink_to("2")
    clock.advance(1.0)
    assert watched.get() == 2


def _write(file: Path, text: str) -> None:
    file.write_text(text)


async def test_a_watched_file_is_read_although_nobody_asks(file: Path) -> None:
    read: asyncio.Queue[int] = asyncio.Queue()

    def parse(file: Path) -> int:
        read.put_nowait(_number(file))
        return 0

    clock = ManualClock()
    watch = asyncio.create_task(Watched(file, parse, clock).watch())
    assert await read.get() == 1
    for text in ("22", "333"):
        _write(file, text)
        await asyncio.sleep(0)  # until the watch sleeps
        clock.advance(1.0)
        assert await read.get() == int(text)
    watch.cancel()
    await asyncio.wait([watch])
