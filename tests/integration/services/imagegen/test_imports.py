"""torch stays out until an engine is built."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["servicer", "bootstrap", "convert", "generate", "settings", "backends.rewriter"])
def test_importing_does_not_import_torch(module: str) -> None:
    code = f"import services.imagegen.{module}, sys; print({{'torch', 'diffusers', 'transformers'}} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "set()"


def test_the_use_case_does_not_import_grpc() -> None:
    code = "import services.imagegen.ports, services.imagegen.catalog, sys; print('grpc' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "False"
