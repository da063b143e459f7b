"""What is installed is what is here: a file that the package leaves out is missed only where it is not editable."""

import tomllib
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("atelier", "atelier_client", "servekit", "services")


def test_every_file_of_ours_that_is_not_code_is_installed_with_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = ("*.py", *project["tool"]["setuptools"]["package-data"]["*"])
    files = [path for each in PACKAGES for path in (ROOT / each).rglob("*") if path.is_file()]
    left_out = {
        str(path.relative_to(ROOT))
        for path in files
        if "__pycache__" not in path.parts and not any(fnmatch(path.name, pattern) for pattern in patterns)
    }
    assert left_out == set()
