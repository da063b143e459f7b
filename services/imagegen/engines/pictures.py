"""From decoded tensors to pixels, watching for values that are not numbers."""

import torch

from servekit.device import weight_bytes
from services.imagegen.domain import Pixels


def all_finite(*tensors: torch.Tensor) -> bool:
    """Tell whether no value is NaN or infinite."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def to_pixels(image: torch.Tensor) -> Pixels:
    """Return a picture of shape (height, width, 3) from one of shape (3, height, width) in 0 to 1.

    Values that are not numbers become black; ask `all_finite` first.
    """
    scaled = (torch.nan_to_num(image.float()).clamp(0, 1) * 255).round()
    pixels: Pixels = scaled.to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()
    return pixels


def measured_bytes(*pipelines: object) -> int:
    """Return the bytes of all parameters and buffers of diffusers pipelines; shared ones count once."""
    return weight_bytes(modules_of(*pipelines))


def modules_of(*pipelines: object) -> list[torch.nn.Module]:
    """Return the torch modules of diffusers pipelines, each once."""
    components = [each for pipeline in pipelines for each in getattr(pipeline, "components", {}).values()]
    return list(dict.fromkeys(each for each in components if isinstance(each, torch.nn.Module)))
