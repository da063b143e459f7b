"""The documentation names files, tests, links and targets; this keeps them from growing stale."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
TOP = "protos|atelier|servekit|services|atelier_client|deploy|tests|docs|bench|models|recipes|evals"
PATH = re.compile(rf"(?<![\w/.-])((?:{TOP})/[\w./-]*\w/?)")
TEST = re.compile(r"(tests/[\w./-]+\.py)::(test_\w+)")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
TARGET = re.compile(r"(?m)(?:^|`)make ([a-z][a-z0-9-]+)")
EXAMPLE = re.compile(r"(?m)^ *<!-- example -->\n *```.*?^ *```$", re.DOTALL)
"""Code that a reader would write: its files need not exist."""


def everywhere(pattern: re.Pattern[str]) -> Iterator[tuple[Path, tuple[str, ...]]]:
    for page in PAGES:
        for match in pattern.finditer(EXAMPLE.sub("", page.read_text())):
            yield page, match.groups()


def test_there_are_pages() -> None:
    assert len(PAGES) > 20


def test_every_file_named_exists() -> None:
    missing = {(page.name, path) for page, (path,) in everywhere(PATH) if not (ROOT / path).exists()}
    assert not missing


def test_every_test_named_exists() -> None:
    missing = {
        (page.name, path, name) for page, (path, name) in everywhere(TEST) if f"def {name}(" not in read(ROOT / path)
    }
    assert not missing


def test_every_link_leads_somewhere() -> None:
    missing = {(page.name, link) for page, (link,) in everywhere(LINK) if not (page.parent / link).exists()}
    assert not missing


def test_every_make_target_named_exists() -> None:
    existing = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    missing = {(page.name, target) for page, (target,) in everywhere(TARGET) if target not in existing}
    assert not missing


@pytest.mark.parametrize("folder", ["architecture", "adding", "decisions"])
def test_the_index_lists_every_page(folder: str) -> None:
    index = (ROOT / "docs" / folder / "README.md").read_text()
    pages = {page.name for page in (ROOT / "docs" / folder).glob("*.md")} - {"README.md"}
    assert {name for name in pages if f"]({name})" not in index} == set()


def read(path: Path) -> str:
    return path.read_text() if path.is_file() else ""
