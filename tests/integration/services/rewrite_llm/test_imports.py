import subprocess
import sys

import pytest

HEAVY = "torch transformers tokenizers"


def heavy_after(statement: str) -> str:
    code = f"import sys; {statement}; print(*(name for name in '{HEAVY}'.split() if name in sys.modules))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    "statement",
    [
        "import services.rewrite_llm.servicer",
        "import services.rewrite_llm.bootstrap",
        "from services.rewrite_llm.bootstrap import build; from services.rewrite_llm.settings import RewriteSettings; "
        "build(RewriteSettings(llm='rules', metrics_port=None))",
    ],
)
def test_torch_is_imported_only_when_a_language_model_is_built(statement: str) -> None:
    assert heavy_after(statement) == ""
