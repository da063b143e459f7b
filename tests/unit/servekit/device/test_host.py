import os
from pathlib import Path

import psutil
import pytest

from servekit.device.host import cpu_quota, free_memory, memory_limit, usable_cores, usable_memory


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("dot", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{text}\n")
    return root


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000", None), ("150000 100000", 2), ("50000 100000", 1), ("nonsense", None)]
)
def test_cpu_quota_version_2(tmp_path: Path, text: str, cores: int | None) -> None:
    assert cpu_quota(write(tmp_path, cpudotmax=text)) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", None), ("300000", 3)])
def test_cpu_quota_version_1(tmp_path: Path, quota: str, cores: int | None) -> None:
    write(tmp_path, cpu__cpudotcfs_quota_us=quota, cpu__cpudotcfs_period_us="100000")
    assert cpu_quota(tmp_path) == cores


def test_no_cgroup_no_limit(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None
    assert memory_limit(tmp_path) is None


@pytest.mark.parametrize(("text", "limit"), [("max", None), ("1048576", 1048576)])
def test_memory_limit_version_2(tmp_path: Path, text: str, limit: int | None) -> None:
    assert memory_limit(write(tmp_path, memorydotmax=text)) == limit


def test_memory_limit_version_1(tmp_path: Path) -> None:
    assert memory_limit(write(tmp_path, memory__memorydotlimit_in_bytes="4096")) == 4096


def test_usable_memory_is_never_above_the_limit(tmp_path: Path) -> None:
    assert usable_memory(write(tmp_path, memorydotmax="4096")) == 4096


def test_usable_cores_respect_quota_affinity_and_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda *, logical: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    assert usable_cores(tmp_path) == 6
    assert usable_cores(write(tmp_path, cpudotmax="300000 100000")) == 3


@pytest.mark.parametrize("version", [1, 2])
def test_what_the_cgroup_has_taken_is_not_free(tmp_path: Path, version: int) -> None:
    limit, current, file = {
        1: ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }[version]
    stat = f"{current.rpartition('/')[0]}/memory.stat".lstrip("/")
    for name, text in {limit: "1000000\n", current: "700000\n", stat: f"anon 5\n{file} 200000\n"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert free_memory(tmp_path) == 500_000


def test_without_a_limit_the_machine_s_memory_is_free(tmp_path: Path) -> None:
    assert free_memory(tmp_path) > 10**6
