import json
import subprocess
from types import SimpleNamespace
from typing import Any, Self

import pytest

from servekit.device.probe import MARKER, GpuProbe, ProbeReport, examine, parse_report, probe_gpus

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


class Tensor:
    """A tensor of equal numbers, as far as the probe computes with it."""

    def __init__(self, value: Any, length: int) -> None:
        self._value = value
        self._length = length

    def __add__(self, other: int) -> Self:
        return type(self)(self._value + other, self._length)

    def __matmul__(self, other: "Tensor") -> "Tensor":
        return Tensor(self._value * other._value * self._length, 1)

    def sum(self) -> Self:
        return type(self)(self._value * self._length, 1)

    def mean(self) -> Self:
        return self

    def item(self) -> Any:
        return self._value

    def float(self) -> Self:
        return self


class FakeTorch:
    """As much of torch as the probe asks for, with one GPU that may lack kernels."""

    bfloat16 = "bfloat16"

    def __init__(self, *, fails: str = "", bfloat16_fails: str = "", wrong_by: float = 0.0) -> None:
        self._fails = fails
        self._bfloat16_fails = bfloat16_fails
        self._wrong_by = wrong_by
        properties = SimpleNamespace(name="NVIDIA H200", major=9, minor=0, total_memory=3)
        self.cuda = SimpleNamespace(
            get_device_properties=lambda _: properties, mem_get_info=lambda _: (2, 3), synchronize=lambda _: None
        )

    def ones(self, *shape: int, device: str, dtype: str = "float32") -> Tensor:
        fails = self._bfloat16_fails if dtype == self.bfloat16 else self._fails
        if fails:
            raise RuntimeError(fails)
        return Tensor(1.0 + self._wrong_by, shape[0])


def examined(torch: FakeTorch) -> GpuProbe:
    line = f"{MARKER}{json.dumps([examine(torch, 0)])}"
    return parse_report(line, "", 0).gpus[0]


def test_a_gpu_that_works() -> None:
    assert examined(FakeTorch()) == GpuProbe(0, "NVIDIA H200", (9, 0), "", 3, 2, "", True)


def test_a_gpu_without_kernels() -> None:
    probe = examined(FakeTorch(fails="CUDA error: no kernel image is available\nCUDA kernel errors might be"))
    assert probe.error == "CUDA error: no kernel image is available"
    assert not probe.bfloat16


def test_a_gpu_without_bfloat16() -> None:
    probe = examined(FakeTorch(bfloat16_fails="CUBLAS_STATUS_NOT_SUPPORTED"))
    assert (probe.error, probe.bfloat16) == ("", False)


def test_a_gpu_that_computes_nonsense() -> None:
    assert examined(FakeTorch(wrong_by=0.5)).error == "1 + 1 gave 2.5"
