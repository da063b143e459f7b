"""Layers that compute elsewhere or faster compute the same."""

import numpy as np
import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from services.voice.engines.xtts.layers import HEAVY, OnCpu, Packed, replace
from tests.contract.services.voice.xtts.conftest import Load
from tests.contract.services.voice.xtts.hearing import spoken

LAYERS = {"linear": nn.Linear(64, 96), "without bias": nn.Linear(64, 96, bias=False), "of GPT-2": Conv1D(96, 64)}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("rows", [1, 4, 33])
def test_a_packed_layer_computes_the_same(name: str, rows: int) -> None:
    layer = LAYERS[name].bfloat16()
    x = torch.randn(2, rows, 64).bfloat16()
    with torch.inference_mode():
        assert torch.allclose(Packed(layer)(x), layer(x), atol=0.02)


def test_only_layers_of_the_kinds_are_replaced() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.ModuleList([nn.Conv1d(4, 4, 1), nn.LayerNorm(4)]))
    replace(module, HEAVY, OnCpu)
    kinds = [type(each).__name__ for each in module.modules()]
    assert kinds == ["Sequential", "OnCpu", "Linear", "ModuleList", "OnCpu", "Conv1d", "LayerNorm"]


async def test_in_bfloat16_it_speaks(load: Load) -> None:
    samples = await spoken(await load("cpu", dtype="bfloat16"), "Hello.")
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() > 0.01
