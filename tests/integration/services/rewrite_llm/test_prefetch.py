"""The command that a Job runs, against a hub on this machine."""

from pathlib import Path

from tests.hub import prefetch, serving


async def fetch(tmp_path: Path, endpoint: str, llm: str) -> tuple[int | None, str]:
    return await prefetch("rewrite_llm", endpoint, tmp_path / "cache", {"REWRITE_LLM_ID": llm})


async def test_the_model_that_the_settings_name_is_fetched(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "config.json").write_text("{}")
    (tmp_path / "hub" / "weights.bin").write_text("a pickle")
    with serving(tmp_path / "hub") as hub:
        assert (await fetch(tmp_path, hub.address, "me/model"))[0] == 0
        assert hub.sent == ["config.json"]


async def test_a_model_behind_an_endpoint_needs_nothing(tmp_path: Path, unused_tcp_port: int) -> None:
    settings = {"REWRITE_LLM_ID": "gpt-4o-mini", "ATELIER_REWRITE_OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}
    endpoint = f"http://127.0.0.1:{unused_tcp_port}"
    code, errors = await prefetch("rewrite_llm", endpoint, tmp_path / "cache", settings)
    assert code == 0
    assert "gpt_4o_mini needs nothing" in errors


async def test_rules_need_nothing(tmp_path: Path, unused_tcp_port: int) -> None:
    code, errors = await fetch(tmp_path, f"http://127.0.0.1:{unused_tcp_port}", "")
    assert code == 0
    assert "rules needs nothing" in errors


async def test_what_cannot_be_had_is_told_and_ends_with_an_error(tmp_path: Path, unused_tcp_port: int) -> None:
    code, errors = await fetch(tmp_path, f"http://127.0.0.1:{unused_tcp_port}", "me/model")
    assert code == 1
    assert "me/model cannot be fetched" in errors
