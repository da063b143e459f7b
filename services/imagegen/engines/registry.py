"""Which engine serves which family. Engines are named, not imported, so that this page needs no torch."""

from collections.abc import Mapping
from importlib import import_module

from services.imagegen.catalog import Abilities, Capability
from services.imagegen.engines.parts import Parts
from services.imagegen.engines.schedulers import DIFFUSION, FLOW
from services.imagegen.ports import Engine

_PAINTING: frozenset[Capability] = frozenset(
    {"text_to_image", "image_to_image", "inpainting", "negative_prompt", "adapters"}
)

FAMILIES: Mapping[str, Abilities] = {
    "flux": Abilities(_PAINTING, ("flow_euler",), ends_guidance=True, decodes_tiny=True),
    "sdxl": Abilities(_PAINTING, tuple(DIFFUSION), refines=True, ends_guidance=True, decodes_tiny=True),
    "sd3": Abilities(_PAINTING, tuple(FLOW), ends_guidance=True, decodes_tiny=True),
    "hidream": Abilities(
        frozenset({"text_to_image", "negative_prompt", "adapters"}),
        ("flow_euler", "flow_unipc"),
        ends_guidance=True,
        decodes_tiny=True,
    ),
    "generic": Abilities(frozenset({"text_to_image", "negative_prompt"}), (*DIFFUSION, *FLOW)),
}
"""What each family's engine can do; it is the module of the same name beside this one, which has `build(parts)`.

`generic` runs any other diffusers pipeline whole.
"""


def build(parts: Parts) -> Engine:
    """Return the engine of the row's family. Raises `ModelUnavailable` if the weights are not what the row says."""
    engine: Engine = import_module(f"services.imagegen.engines.{parts.row.family}").build(parts)
    return engine
