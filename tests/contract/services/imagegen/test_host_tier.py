"""Engines whose weights leave the device for host memory and come back."""

from typing import Any

import numpy as np
import pytest

from servekit.device.host_copy import HostCopy
from services.imagegen.domain import AdapterChoice
from tests.contract.services.imagegen import runs
from tests.contract.services.imagegen.conftest import Build
from tests.unit.services.imagegen import rows

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers
FAMILIES = pytest.mark.parametrize(
    "base", [rows.FLUX, rows.REFINED, rows.SD3, rows.HIDREAM], ids=lambda base: base["family"]
)


@FAMILIES
def test_an_engine_that_comes_back_makes_the_same_pictures(fresh: Build, base: dict[str, Any]) -> None:
    engine = fresh(base)
    before = runs.alone(engine, runs.job()).pixels
    copy = HostCopy(engine.modules, pinned=False)
    copy.park()
    list(copy.restore("cpu"))
    assert np.array_equal(runs.alone(engine, runs.job()).pixels, before)
    assert copy.bytes == pytest.approx(engine.resident_bytes, rel=0.2)


def test_adapters_come_back_too(fresh: Build) -> None:
    engine, adapted = fresh(rows.FLUX), runs.job(adapters=(AdapterChoice("tiny_flux_lora", 1.0),))
    copy = HostCopy(engine.modules, pinned=False)
    without, bytes_without = runs.alone(engine, runs.job()).pixels, engine.resident_bytes
    before = runs.alone(engine, adapted).pixels
    assert not copy.holds(engine.modules)
    assert engine.resident_bytes > bytes_without

    copy = HostCopy(engine.modules, pinned=False)
    copy.park()
    list(copy.restore("cpu"))
    assert np.array_equal(runs.alone(engine, adapted).pixels, before)
    assert np.array_equal(runs.alone(engine, runs.job()).pixels, without)
