"""The examples of `docs/adding` do what the pages say."""

import contextlib
import io
import re
import shutil
from pathlib import Path

import pytest

from services.imagegen import reading
from services.imagegen.engines.registry import FAMILIES
from services.rewrite_llm import safety

GUIDES = Path(__file__).parents[2] / "docs" / "adding"


def block(page: str, language: str, containing: str) -> str:
    """Return the code of a page in a language that contains a text."""
    fenced = re.findall(r"(?ms)^```(\w*)\n(.*?)^```$", (GUIDES / page).read_text())
    (code,) = (code for kind, code in fenced if kind == language and containing in code)
    return str(code)


@pytest.mark.parametrize(("containing", "model"), [("# studio.toml", "ink"), ("[[adapter]]", "sketch_watercolour")])
def test_the_rows_of_a_model_are_read(tmp_path: Path, containing: str, model: str) -> None:
    file = tmp_path / "studio.toml"
    file.write_text(block("model.md", "toml", containing))

    assert reading.load(file, families=FAMILIES).get(model).strengths


def test_the_safety_rule_judges_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "services/rewrite_llm/safety"
    shutil.copytree(Path(safety.__file__).parent, tmp_path / name)
    rule = block("safety-rule.md", "toml", "gambling")
    (tmp_path / name / "gambling.toml").write_text(rule)
    monkeypatch.chdir(tmp_path)
    code = block("safety-rule.md", "sh", "RuleSet").split("'END'\n")[1].removesuffix("END\n")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})

    assert printed.getvalue() == block("safety-rule.md", "", "casino")
