"""Schedulers by the names that requests use."""

from typing import Any

SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "ddim": ("DDIMScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
    "dpmpp_2m_karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "flow_euler": ("FlowMatchEulerDiscreteScheduler", {}),
    "flow_heun": ("FlowMatchHeunDiscreteScheduler", {}),
}
"""Class in diffusers and the options that differ from the model's own."""


def fresh(saved: Any, name: str) -> Any:
    """Return a new scheduler with the settings saved with a model; an empty name keeps its class."""
    import diffusers

    if not name:
        return type(saved).from_config(saved.config)
    cls, options = SCHEDULERS[name]
    return getattr(diffusers, cls).from_config(saved.config, **options)
