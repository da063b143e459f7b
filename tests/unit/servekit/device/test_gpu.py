import logging
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from servekit.device import DevicePlan
from servekit.device.gpu import Gpu, GpuFigures, find_gpu, open_gpu


class FakeNvml:
    """Answers as pynvml does for one GPU, or refuses the questions in `silent`."""

    NVML_TEMPERATURE_GPU = 0

    class NVMLError(Exception):
        pass

    def __init__(self, *silent: str) -> None:
        self._silent = silent

    def nvmlInit(self) -> None:
        self._answer("nvmlInit", None)

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        return str(self._answer("nvmlDeviceGetHandleByUUID", uuid))

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:
        return self._answer("nvmlDeviceGetMemoryInfo", SimpleNamespace(used=30, free=70, total=100))

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> Any:
        return self._answer("nvmlDeviceGetUtilizationRates", SimpleNamespace(gpu=42, memory=7))

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> Any:
        return self._answer("nvmlDeviceGetTemperature", 61)

    def _answer(self, question: str, answer: Any) -> Any:
        if question in self._silent:
            raise self.NVMLError("not supported")
        return answer


def test_what_the_driver_says() -> None:
    assert Gpu(FakeNvml(), "GPU-1").read() == GpuFigures(30, 70, 0.42, 61)


def test_what_the_driver_does_not_say_is_left_out() -> None:
    nvml = FakeNvml("nvmlDeviceGetTemperature", "nvmlDeviceGetUtilizationRates")
    assert Gpu(nvml, "GPU-1").read() == GpuFigures(30, 70, None, None)


def test_the_gpu_is_found_by_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    gpu = open_gpu("GPU-1")
    assert gpu is not None
    assert gpu.read().used_bytes == 30


@pytest.mark.parametrize("silent", ["nvmlInit", "nvmlDeviceGetHandleByUUID"])
def test_a_driver_that_is_not_there_is_told_and_no_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, silent: str
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(silent))
    with caplog.at_level(logging.INFO):
        assert open_gpu("GPU-1") is None
    assert "not supported" in caplog.text


def test_a_package_that_is_not_there_is_told_and_no_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with caplog.at_level(logging.INFO):
        assert open_gpu("GPU-1") is None
    assert "nvidia-ml-py is not installed" in caplog.text


def test_a_cpu_has_no_gpu() -> None:
    assert find_gpu(DevicePlan("cpu", "cpu", "a CPU", "float32", None, (), 1, 1000, 900, "it is there")) is None
