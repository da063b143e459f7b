"""Makes the installed torchaudio fit the installed torch; does nothing where it fits already.

The registry's torchaudio is a CUDA build. Its extension libraries cannot be loaded by a CPU build of torch, and then
`import torchaudio` fails as a whole, although what XTTS needs of it (resampling, spectrograms) is plain Python. Without
the libraries it imports: torchaudio takes an absent extension for one that was not built.
"""

import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

_LOAD = "import sys, torch; [torch.ops.load_library(path) for path in sys.argv[1:]]"


def extensions() -> list[Path]:
    """Return the extension libraries of the installed torchaudio, sorted; empty if it is not installed."""
    spec = find_spec("torchaudio")
    if spec is None or spec.origin is None:
        return []
    return sorted((Path(spec.origin).parent / "lib").glob("*.so"))


def loads(libraries: Sequence[Path]) -> bool:
    """Tell whether torch can load them all, tried in a process of its own: a misfit may end it."""
    command = [sys.executable, "-c", _LOAD, *map(str, libraries)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def fit(libraries: Sequence[Path]) -> Sequence[Path]:
    """Remove the libraries if torch cannot load them; return what was removed."""
    if not libraries or loads(libraries):
        return ()
    for library in libraries:
        library.unlink()
    return libraries


if __name__ == "__main__":
    for removed in fit(extensions()):
        sys.stdout.write(f"torchaudio: {removed.name} does not fit this build of torch and was removed\n")
