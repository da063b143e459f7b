import subprocess
from typing import Any

import pytest

from servekit.device.probe import GpuProbe, ProbeReport, parse_report, probe_gpus

LINE = (
    'GPU-PROBE:[{"index": 0, "name": "NVIDIA H200", "capability": [9, 0], "gfx": "", "total_bytes": 3, '
    '"free_bytes": 2, "error": "", "bfloat16": true}]'
)


def test_reads_the_marked_line_among_others() -> None:
    report = parse_report(f"a warning\n{LINE}\nGoodbye\n", "", 0)
    assert report == ProbeReport((GpuProbe(0, "NVIDIA H200", (9, 0), "", 3, 2, "", True),))


def test_a_probe_that_died_gives_its_last_words() -> None:
    report = parse_report("", "Traceback\nRuntimeError: driver too old\n", 1)
    assert report.error == "the GPU probe ended with status 1: RuntimeError: driver too old"


def test_a_probe_that_died_in_silence() -> None:
    assert parse_report("", "", -11).error == "the GPU probe ended with status -11: no output"


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (subprocess.TimeoutExpired("probe", 5.0), "the GPU probe did not answer within 5 s"),
        (OSError("no more processes"), "the GPU probe could not be started: no more processes"),
    ],
)
def test_what_goes_wrong_is_in_the_report(monkeypatch: pytest.MonkeyPatch, failure: Exception, words: str) -> None:
    def run(*_: Any, **__: Any) -> None:
        raise failure

    monkeypatch.setattr(subprocess, "run", run)
    assert probe_gpus(5.0) == ProbeReport((), words)
