"""From decoded tensors to pixels, watching for values that are not numbers."""

import torch

from services.imagegen.domain import Pixels
from services.imagegen.engines.parts import Parts


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


def modules_of(parts: Parts) -> list[torch.nn.Module]:
    """Return the torch modules that hold weights on the device, each once: of an offloaded model its autoencoders."""
    pipelines = [each for each in (parts.pipeline, parts.refiner) if each is not None]
    if parts.offloaded:
        components = [each.vae for each in pipelines]
    else:
        components = [each for pipeline in pipelines for each in getattr(pipeline, "components", {}).values()]
    components.append(parts.tiny_vae)
    return list(dict.fromkeys(each for each in components if isinstance(each, torch.nn.Module)))
