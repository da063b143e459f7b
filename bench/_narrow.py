"""The bundled model with another transformer: many layers that each have next to nothing to compute.

Bound by calls of operators, as a GPU is by starting kernels: a step of eight pictures costs about twice a step of one.
"""

# mypy: disable-error-code="no-untyped-call, attr-defined"
# (the libraries are not typed)

from pathlib import Path

import torch
from diffusers import FluxPipeline, FluxTransformer2DModel

from bench._imagegen import MODEL
from services.imagegen.settings import ImagegenSettings


def save(folder: Path) -> Path:
    """Write the pipeline, 14 MB, below `folder`, and a catalog file that puts it in the place of the bundled one."""
    weights = folder / MODEL
    torch.manual_seed(0)
    pipeline = FluxPipeline.from_pretrained(ImagegenSettings().models_dir / MODEL)
    narrow = {"num_layers": 16, "num_single_layers": 32, "num_attention_heads": 2, "attention_head_dim": 16}
    config = {**pipeline.transformer.config, **narrow, "axes_dims_rope": (4, 6, 6)}
    pipeline.register_modules(transformer=FluxTransformer2DModel.from_config(config))
    pipeline.save_pretrained(weights)
    catalog = folder / "catalog.toml"
    catalog.write_text(f'[[model]]\nid = "{MODEL}"\nsource = "{weights}"\nmax_tokens = 16\n', encoding="utf-8")
    return catalog
