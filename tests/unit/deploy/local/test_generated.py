import sys
from pathlib import Path

import pytest

from deploy.local import generated


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text("before <!-- in --> old <!-- out --> after")
    return path


def called(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["generate", *map(str, arguments)])


def test_a_section_is_written_between_its_marks_and_is_fresh_then(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called(monkeypatch, "--write", page)
    generated.section("new", "<!-- in -->", "<!-- out -->")
    assert page.read_text() == "before <!-- in -->\n\nnew\n\n<!-- out --> after"
    called(monkeypatch, "--check", page)
    generated.section("new", "<!-- in -->", "<!-- out -->")


def test_a_stale_section_is_told_and_left_alone(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called(monkeypatch, "--check", page)
    before = page.read_text()
    with pytest.raises(SystemExit, match=r"page\.md is stale: run make fix"):
        generated.section("new", "<!-- in -->", "<!-- out -->")
    assert page.read_text() == before


def test_files_are_written_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {tmp_path / "a": "one", tmp_path / "b": "two"}
    called(monkeypatch, "--check")
    with pytest.raises(SystemExit, match="a is stale"):
        generated.files(made)
    called(monkeypatch, "--write")
    generated.files(made)
    assert (tmp_path / "b").read_text() == "two"
    called(monkeypatch, "--check")
    generated.files(made)
    with pytest.raises(SystemExit, match="b is stale"):
        generated.files(made | {tmp_path / "b": "three"})
