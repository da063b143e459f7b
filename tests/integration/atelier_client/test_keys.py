"""`atelier key new` takes the names that a callers file takes, and no others."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from atelier_client.cli.app import app
from atelier_client.cli.keys import NAME
from servekit.access.callers import Callers, CallersError


@pytest.mark.parametrize("name", ['we"b', "two\nlines", "web\n", "", "-web", ".web", "w" * 65, "wéb", "a b"])
def test_a_name_that_a_callers_file_refuses_is_refused(name: str) -> None:
    result = CliRunner().invoke(app, ["key", "new", "--", name])
    assert result.exit_code == 2
    assert not result.stdout


@pytest.mark.parametrize("name", ["web", "9", "w" * 64, "a.b_c-D"])
def test_a_name_that_it_takes_makes_a_row_that_it_takes(name: str, tmp_path: Path) -> None:
    file = tmp_path / "callers.toml"
    file.write_text(CliRunner().invoke(app, ["key", "new", name]).stdout)
    Callers.load(file)


@given(name=st.text(alphabet=st.sampled_from("aZ09._- é/\t"), max_size=66))
def test_both_take_the_same_names(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "callers.toml"
    escaped = name.replace("\t", "\\t")
    file.write_text(f'[[caller]]\nname = "{escaped}"')
    try:
        Callers.load(file)
    except CallersError:
        assert not NAME.fullmatch(name)
    else:
        assert NAME.fullmatch(name)
