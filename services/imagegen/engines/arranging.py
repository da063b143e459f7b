"""Arranges loaded components as a profile says: memory format, 8-bit storage, compiled blocks, offloading."""

from typing import Any

import torch

from services.imagegen.places import NETWORKS
from services.imagegen.profiles import Profile

_CONVOLUTIONAL = ("unet", "vae")
_REPEATED: dict[str, list[str]] = {
    "SD3Transformer2DModel": ["JointTransformerBlock"],
    "HiDreamImageTransformer2DModel": ["HiDreamImageTransformerBlock", "HiDreamImageSingleTransformerBlock"],
}
"""The repeated blocks of networks for which the library does not name them."""


class Arrangement:
    """How a pipeline's components get to `device`, as torch names it."""

    def __init__(self, profile: Profile, device: str) -> None:
        self._profile = profile
        self._device = device

    @property
    def loaded_to(self) -> str:
        """The device that components are loaded to."""
        return "cpu" if self._profile.placement == "offloaded" else self._device

    def component(self, name: str, module: torch.nn.Module) -> None:
        """Arrange a component before it goes to the device."""
        if self._profile.channels_last and name in _CONVOLUTIONAL:
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs leave it out
        if self._profile.placement == "float8" and name in NETWORKS:
            _store_in_float8(module, getattr(torch, self._profile.dtype))
        if self._profile.compiled and name in NETWORKS:
            _compile(module)

    def tiny_vae(self, module: torch.nn.Module) -> None:
        """Arrange a tiny autoencoder and bring it to the device, wherever the rest is."""
        self.component("vae", module)
        module.to(self._device)

    def pipelines(self, *pipelines: Any) -> None:
        """Arrange whole pipelines once they are loaded; None is left out."""
        if self._profile.placement != "offloaded":
            return
        for each in filter(None, pipelines):
            each.enable_group_offload(
                onload_device=torch.device(self._device),
                offload_type="leaf_level",
                use_stream=self._device != "cpu",
                low_cpu_mem_usage=True,
                exclude_modules=["vae"],
            )


def _store_in_float8(network: Any, dtype: torch.dtype) -> None:
    """Store a network's weights in 8 bits. Layers are widened to `dtype` while they work; norms stay as they are."""
    network.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)
    for layer in network.modules():
        if isinstance(layer, torch.nn.Linear) and layer.weight.dtype == torch.float8_e4m3fn:
            vars(layer)["compute_dtype"] = dtype  # peft makes adapters of this type: in 8 bits none could be added


def _compile(network: Any) -> None:
    network._repeated_blocks = network._repeated_blocks or _REPEATED.get(type(network).__name__, [])
    network.compile_repeated_blocks(dynamic=True)
