"""rewrite_llm as a process of its own, and what it writes."""

import asyncio
import json
import logging
import os
import sys

import pytest

from services.rewrite_llm.engines.quiet import be_quiet

READY_S = 60.0


async def test_all_it_writes_while_it_loads_a_model_is_lines_of_json() -> None:
    names = {"REWRITE_LLM_ID": "sketch_qwen", "ATELIER_REWRITE_PORT": "0", "ATELIER_REWRITE_METRICS_PORT": "none"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.rewrite_llm", env=os.environ | names, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    lines = []
    async with asyncio.timeout(READY_S):
        async for line in process.stderr:
            lines.append(line.decode())
            if "ready after" in lines[-1]:
                process.terminate()
        assert await process.wait() == 0
    assert any("answers in" in json.loads(line)["message"] for line in lines)


@pytest.mark.parametrize("library", ["huggingface_hub", "transformers"])
def test_libraries_write_into_our_log_alone(library: str) -> None:
    be_quiet()
    assert logging.getLogger(library).handlers == []
    assert logging.getLogger(library).propagate
