"""The command that a Job runs, against a hub on this machine."""

import asyncio
import os
import sys
from pathlib import Path

from tests.hub import serving


async def prefetch(tmp_path: Path, endpoint: str, llm: str) -> tuple[int | None, str]:
    environment = os.environ | {
        "REWRITE_LLM_ID": llm,
        "HF_ENDPOINT": endpoint,
        "HF_HUB_CACHE": str(tmp_path / "cache"),
    }
    command = (sys.executable, "-m", "services.rewrite_llm.prefetch")
    process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    return process.returncode, errors.decode()


async def test_the_model_that_the_settings_name_is_fetched(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "config.json").write_text("{}")
    (tmp_path / "hub" / "weights.bin").write_text("a pickle")
    with serving(tmp_path / "hub") as hub:
        assert (await prefetch(tmp_path, hub.address, "me/model"))[0] == 0
        assert hub.sent == ["config.json"]


async def test_rules_need_nothing(tmp_path: Path, unused_tcp_port: int) -> None:
    code, errors = await prefetch(tmp_path, f"http://127.0.0.1:{unused_tcp_port}", "")
    assert code == 0
    assert "rules needs nothing" in errors


async def test_what_cannot_be_had_is_told_and_ends_with_an_error(tmp_path: Path, unused_tcp_port: int) -> None:
    code, errors = await prefetch(tmp_path, f"http://127.0.0.1:{unused_tcp_port}", "me/model")
    assert code == 1
    assert "me/model cannot be fetched" in errors
