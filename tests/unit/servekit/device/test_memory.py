import pytest

from servekit.device import DevicePlan, require_bytes
from servekit.errors import DeviceOutOfMemory

PLAN = DevicePlan("cpu", "cpu", "a CPU", "float32", None, (), 1, 1000, 900, "it is there")


def test_a_load_that_would_get_the_process_killed_is_refused() -> None:
    with pytest.raises(DeviceOutOfMemory) as caught:
        require_bytes(PLAN, 10**15)
    assert caught.value.wanted_bytes == 10**15
    assert 0 < caught.value.free_bytes < 10**15


def test_a_load_that_fits_is_let_through() -> None:
    require_bytes(PLAN, 1)
