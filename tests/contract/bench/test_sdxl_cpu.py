"""The benchmark of SDXL on a CPU, run on tiny weights: what it adds up is what it has timed."""

from collections.abc import Iterator

import pytest
import torch

from bench import _sdxl, sdxl_cpu
from tests.contract.services.imagegen import tiny, tiny_parts


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Leave other tests the threads they have: the benchmark takes what the machine has."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers
@pytest.mark.filterwarnings("ignore:`torch_dtype` is deprecated:FutureWarning")
def test_it_runs_to_its_end_and_tells_of_the_tier_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sdxl, "save", tiny.save_sdxl)
    monkeypatch.setattr(_sdxl, "save_tiny_vae", tiny_parts.save_tiny_vae)
    monkeypatch.setattr(sdxl_cpu, "_SIDE", 64)

    figures = {each.compared: each.value for each in sdxl_cpu.run()}

    assert all(value > 0 for value in figures.values())
    assert "imagegen: a picture of 35 steps, 24 of them computed, 50% guided" in figures
    assert "imagegen, tier fast: a picture of 35 steps, 14 of them computed, 60% guided" in figures
