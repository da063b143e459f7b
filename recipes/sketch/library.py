"""diffusers, as the type checker sees it: its lazy imports carry no types, so they are Any here, once."""

import importlib
from typing import Any, TypeAlias

_diffusers: Any = importlib.import_module("diffusers")

AutoencoderKL: Any = _diffusers.AutoencoderKL
FlowMatchEulerDiscreteScheduler: Any = _diffusers.FlowMatchEulerDiscreteScheduler
FluxPipeline: Any = _diffusers.FluxPipeline
FluxTransformer2DModel: Any = _diffusers.FluxTransformer2DModel

Autoencoder: TypeAlias = Any
"""An AutoencoderKL."""
Pipeline: TypeAlias = Any
"""A FluxPipeline."""
Scheduler: TypeAlias = Any
"""A FlowMatchEulerDiscreteScheduler."""
Transformer: TypeAlias = Any
"""A FluxTransformer2DModel."""
