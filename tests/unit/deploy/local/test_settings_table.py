import re
from pathlib import Path

import pytest

from deploy.local.settings_table import tables

README = Path(__file__).parents[4] / "README.md"


def _row(variable: str) -> str:
    (row,) = re.findall(rf"^\| `{re.escape(variable)}` .*$", tables(), flags=re.MULTILINE)
    return str(row)


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("ATELIER_<SERVICE>_LOG_LEVEL", "`DEBUG`, `INFO`, `WARNING`, `ERROR`"),
        ("ATELIER_<SERVICE>_LOG_FORMAT", "`json`, `console`"),
        ("ATELIER_<SERVICE>_REFLECTION", "`open`, `guarded`, `off`"),
        ("ATELIER_<SERVICE>_AUDIT", "`privileged`, `all`"),
        ("ATELIER_IMAGEGEN_SAFETY", "`block`, `flag`, `ignore`"),
        ("ATELIER_REWRITE_DTYPE", "`auto`, `float32`, `bfloat16`, `float16`"),
    ],
)
def test_the_words_that_a_setting_takes_are_listed(variable: str, words: str) -> None:
    assert f"One of {words}. |" in _row(variable)


def test_a_setting_that_takes_anything_lists_nothing() -> None:
    assert "One of" not in _row("ATELIER_<SERVICE>_HOST")


def test_each_folder_is_described_once() -> None:
    named = re.findall(r"^\| (`[a-z_]+/.*?`) \|", README.read_text(), flags=re.MULTILINE)
    assert sorted(named) == sorted(set(named))
