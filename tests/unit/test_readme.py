import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_make_target_of_the_readme_exists() -> None:
    named = set(re.findall(r"(?m)(?:^|`)make ([a-z][a-z-]+)", (ROOT / "README.md").read_text()))
    existing = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named
    assert named <= existing


def test_every_extra_of_the_readme_exists() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    named = set(re.findall(r"atelier-studio\[([a-z_]+)\]", (ROOT / "README.md").read_text()))
    assert named
    assert all(f"\n{extra} = [" in project for extra in named)
