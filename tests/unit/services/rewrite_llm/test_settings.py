from pathlib import Path

import pytest
from pydantic import ValidationError

from servekit.settings import WrongSettings, check_files
from services.rewrite_llm.bootstrap import build
from services.rewrite_llm.settings import RewriteSettings


@pytest.mark.parametrize("name", ["ATELIER_REWRITE_LLM", "REWRITE_LLM_ID", "ROUTER_LLM_ID"])
def test_the_language_model_goes_by_the_names_of_the_notes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "Qwen/Qwen3-0.6B")
    assert RewriteSettings().llm == "Qwen/Qwen3-0.6B"


def test_its_own_name_goes_before_those_of_the_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_REWRITE_LLM", "rules")
    monkeypatch.setenv("REWRITE_LLM_ID", "Qwen/Qwen3-0.6B")
    assert RewriteSettings().llm == "rules"


def test_policy_is_json_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_REWRITE_POLICY", '{"violence": "allow"}')
    assert RewriteSettings().policy == {"violence": "allow"}


@pytest.mark.parametrize("verdict", ["allow", "rewrite"])
def test_minors_cannot_be_let_pass(verdict: str) -> None:
    with pytest.raises(ValidationError, match="always blocked"):
        RewriteSettings.model_validate({"policy": {"minors": verdict}})


@pytest.mark.parametrize("name", ["", "rules"])
def test_an_endpoint_needs_the_name_of_its_model(name: str) -> None:
    with pytest.raises(ValidationError, match="REWRITE_LLM_ID"):
        RewriteSettings.model_validate({"llm": name, "openai_base_url": "http://127.0.0.1:8000/v1"})


@pytest.mark.parametrize("url", ["127.0.0.1:8000/v1", "ftp://here/v1", "http://a b"])
def test_an_endpoint_is_an_http_url(url: str) -> None:
    with pytest.raises(ValidationError, match="openai_base_url"):
        RewriteSettings.model_validate({"llm": "qwen", "openai_base_url": url})


def test_a_policy_for_a_category_that_is_not_there_is_refused_and_those_that_are_are_told() -> None:
    with pytest.raises(
        WrongSettings, match=r"^ATELIER_REWRITE_POLICY: no category 'zzz'; there are .*violence, unsafe$"
    ):
        build(RewriteSettings(policy={"zzz": "allow", "violence": "allow"}))


def test_a_policy_may_name_what_only_the_language_model_sees() -> None:
    build(RewriteSettings(policy={"unsafe": "block"}))


@pytest.mark.parametrize("name", ["safety_dir", "selection_dir"])
def test_a_folder_without_rules_names_the_setting(name: str, tmp_path: Path) -> None:
    with pytest.raises(WrongSettings, match=rf"^ATELIER_REWRITE_{name.upper()}: No such file"):
        check_files(RewriteSettings.model_validate({name: tmp_path / "none"}))
    with pytest.raises(WrongSettings, match=rf"^ATELIER_REWRITE_{name.upper()}: .*No such file"):
        build(RewriteSettings.model_validate({name: tmp_path}))
