"""Catalog rows of the tiny pipelines."""

from typing import Any

from services.imagegen.catalog import ModelRow

FLUX: dict[str, Any] = {
    "id": "tiny_flux",
    "display_name": "Tiny FLUX",
    "family": "flux",
    "source": "tiny_flux",
    "license": "Apache-2.0",
    "strengths": "Nothing at all: random weights.",
    "capabilities": ["text_to_image", "image_to_image", "inpainting", "negative_prompt", "adapters"],
    "steps": {"default": 3, "min": 1, "max": 50},
    "guidance": {"default": 4.0, "min": 0, "max": 10},
    "size": {"default": [32, 32], "min": 16, "max": 64, "multiple_of": 4},
    "schedulers": ["flow_euler"],
    "dtype": "float32",
    "max_tokens": 16,
    "bytes": {"float32": 1_000_000},
}
SDXL: dict[str, Any] = {
    **FLUX,
    "id": "tiny_sdxl",
    "display_name": "Tiny SDXL",
    "family": "sdxl",
    "source": "tiny_sdxl",
    "schedulers": ["euler", "euler_a", "heun", "ddim", "dpmpp_2m", "dpmpp_2m_karras", "unipc"],
}
REFINED: dict[str, Any] = {**SDXL, "id": "tiny_refined", "refiner": {"source": "tiny_refiner", "start": 0.8}}
SD3: dict[str, Any] = {
    **FLUX,
    "id": "tiny_sd3",
    "display_name": "Tiny SD3",
    "family": "sd3",
    "source": "tiny_sd3",
    "schedulers": ["flow_euler", "flow_heun", "flow_unipc", "flow_dpmpp_2m"],
}
_LLAMA = {"source": "tiny_llama", "options": {}}
HIDREAM: dict[str, Any] = {
    **FLUX,
    "id": "tiny_hidream",
    "display_name": "Tiny HiDream",
    "family": "hidream",
    "source": "tiny_hidream",
    "capabilities": ["text_to_image", "negative_prompt", "adapters"],
    "schedulers": ["flow_euler", "flow_unipc"],
    "components": {
        "text_encoder_4": {**_LLAMA, "class": "transformers.LlamaForCausalLM"},
        "tokenizer_4": {**_LLAMA, "class": "transformers.PreTrainedTokenizerFast"},
    },
}
GENERIC: dict[str, Any] = {
    **SDXL,
    "id": "tiny_generic",
    "display_name": "Tiny of any family",
    "family": "generic",
    "capabilities": ["text_to_image", "negative_prompt"],
}
_FLOWING: dict[str, Any] = {**GENERIC, "schedulers": ["flow_euler"], "max_tokens": 32}
Z_IMAGE = {
    **_FLOWING,
    "id": "tiny_z_image",
    "display_name": "Tiny Z-Image",
    "source": "tiny_z_image",
    "capabilities": ["text_to_image"],
    "guidance": {"default": 0, "min": 0, "max": 0},
    "cfg": "embedded",
}
FLUX2_KLEIN = {
    **Z_IMAGE,
    "id": "tiny_flux2_klein",
    "display_name": "Tiny FLUX.2 [klein]",
    "source": "tiny_flux2_klein",
    "guidance": {"default": 1, "min": 1, "max": 1},
}
QWEN_IMAGE = {**_FLOWING, "id": "tiny_qwen_image", "display_name": "Tiny Qwen-Image", "source": "tiny_qwen_image"}


def row(base: dict[str, Any], **changes: Any) -> ModelRow:
    """Return a row with some fields changed."""
    return ModelRow.model_validate({**base, **changes})
