"""Where `make test-ops` puts the programs that these tests run."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".venv-ops"


def tool(name: str) -> Path:
    """Return the program `name` of the tools' environment; raises `FileNotFoundError` if that was not made."""
    path = TOOLS / "bin" / name
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run `make test-ops`, which installs it")
    return path


def run(name: str, *arguments: str | Path, accept: frozenset[int] = frozenset({0})) -> str:
    """Run a tool in the repository and return what it printed; raises with its errors if it fails."""
    done = subprocess.run([tool(name), *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in accept:
        raise RuntimeError(f"{name} ended with {done.returncode}: {done.stderr or done.stdout}")
    return done.stdout
