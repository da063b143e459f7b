"""Packages that a target needs are installed unless every program of theirs is there."""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAMS = {
    "packages": ["openssl"],
    "packages-ops": ["promtool", "amtool"],
    "packages-images": ["buildah", "podman", "mmdebstrap", "runc", "catatonit", "conmon", "iptables"],
}


def installs(target: str, found: Iterable[str], folder: Path) -> bool:
    """Whether `make` calls apt-get on a machine with just these programs; installing does nothing there."""
    called = folder / "called"
    for name in found:
        program(folder / name, "")
    program(folder / "apt-get", f"echo >{called}\nexit 1")
    make = shutil.which("make") or "make"
    subprocess.run([make, "-C", ROOT, target], env={"PATH": str(folder)}, capture_output=True, check=False, timeout=30)
    return called.exists()


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("target", PROGRAMS)
def test_nothing_is_installed_where_everything_is_there(target: str, tmp_path: Path) -> None:
    assert not installs(target, PROGRAMS[target], tmp_path)


@pytest.mark.parametrize(("target", "missing"), [(target, each) for target in PROGRAMS for each in PROGRAMS[target]])
def test_one_missing_program_is_enough_to_install(target: str, missing: str, tmp_path: Path) -> None:
    assert installs(target, set(PROGRAMS[target]) - {missing}, tmp_path)
