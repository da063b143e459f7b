"""What the machine gives this process: cores and memory, with affinity and cgroup limits counted in."""

import math
import os
from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")


def usable_cores(cgroup: Path = CGROUP) -> int:
    """Return how many physical cores this process may keep busy: the least of machine, affinity and cgroup quota."""
    physical = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    return max(1, min(physical, len(os.sched_getaffinity(0)), cpu_quota(cgroup) or physical))


def cpu_quota(cgroup: Path = CGROUP) -> int | None:
    """Return the cgroup's CPU limit in whole cores, rounded up; None if there is none. Versions 1 and 2."""
    quota, period = "max", ""
    if (text := _read(cgroup / "cpu.max")) is not None:
        quota, _, period = text.partition(" ")
    elif (text := _read(cgroup / "cpu" / "cpu.cfs_quota_us")) is not None:
        quota, period = text, _read(cgroup / "cpu" / "cpu.cfs_period_us") or ""
    if not quota.isdecimal() or not period.isdecimal():
        return None
    return math.ceil(int(quota) / int(period))


def usable_memory(cgroup: Path = CGROUP) -> int:
    """Return the bytes this process may use: the cgroup's limit, or what the machine has free, whichever is less."""
    limit = memory_limit(cgroup)
    available = psutil.virtual_memory().available
    return available if limit is None else min(limit, available)


def free_memory(cgroup: Path = CGROUP) -> int:
    """Return the bytes this process may still take: as `usable_memory`, less what the cgroup has taken already.

    Files that the kernel keeps in memory as long as nobody needs the room are not counted as taken.
    """
    available = psutil.virtual_memory().available
    limit, taken = memory_limit(cgroup), memory_taken(cgroup)
    return available if limit is None or taken is None else max(0, min(limit - taken, available))


def memory_taken(cgroup: Path = CGROUP) -> int | None:
    """Return the bytes the cgroup has taken, without files that may go; None if unknown. Versions 1 and 2."""
    for folder, current, inactive in (
        (cgroup, "memory.current", "inactive_file"),
        (cgroup / "memory", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        text, stat = _read(folder / current), _read(folder / "memory.stat") or ""
        if text is not None and text.isdecimal():
            figures = dict(line.split() for line in stat.splitlines())
            return max(0, int(text) - int(figures.get(inactive, 0)))
    return None


def memory_limit(cgroup: Path = CGROUP) -> int | None:
    """Return the cgroup's memory limit in bytes; None if there is none. Versions 1 and 2."""
    text = _read(cgroup / "memory.max") or _read(cgroup / "memory" / "memory.limit_in_bytes")
    return int(text) if text is not None and text.isdecimal() else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
