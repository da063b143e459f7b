"""The driver's own library, installed, on machines with and without a GPU."""

import importlib.util

from servekit.device.gpu import open_gpu


def test_a_gpu_that_the_driver_does_not_know_is_none() -> None:
    assert importlib.util.find_spec("pynvml") is not None
    assert open_gpu("GPU-00000000-0000-0000-0000-000000000000") is None
