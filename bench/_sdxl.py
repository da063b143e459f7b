"""Stable Diffusion XL at its own size with random weights, built from the libraries' classes and saved by them.

The sizes are those of `stabilityai/stable-diffusion-xl-base-1.0` (its `config.json` files): 2.6 thousand million
weights in the UNet, 0.8 in the text encoders.
"""

# mypy: disable-error-code="no-untyped-call, no-any-return, attr-defined, call-arg"
# (the libraries are not typed)

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer


def save(folder: Path) -> None:
    """Write a pipeline of random bfloat16 weights, 7 GB."""
    torch.manual_seed(0)
    pipeline = StableDiffusionXLPipeline(
        vae=_random(_vae),
        text_encoder=_random(lambda: CLIPTextModel(_encoder(768, layers=12, heads=12, activation="quick_gelu"))),
        text_encoder_2=_random(
            lambda: CLIPTextModelWithProjection(_encoder(1280, layers=32, heads=20, activation="gelu"))
        ),
        tokenizer=_tokenizer(),
        tokenizer_2=_tokenizer(),
        unet=_random(_unet),
        scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear", timestep_spacing="leading", steps_offset=1),
        add_watermarker=False,
    )
    pipeline.save_pretrained(folder)


def save_tiny_vae(folder: Path) -> None:
    """Write a tiny autoencoder of the size of `madebyollin/taesdxl`, whose sizes are the library's defaults."""
    torch.manual_seed(0)
    AutoencoderTiny().to(torch.bfloat16).save_pretrained(folder)


def _random(make: Callable[[], Any]) -> Any:
    """Return a module with weights of the usual spread: the libraries' own initialisation takes minutes."""
    with torch.device("meta"):
        module = make().to(torch.bfloat16)
    module.to_empty(device="cpu")
    for name, parameter in module.named_parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(std=parameter[0].numel() ** -0.5)
        else:
            parameter.data.fill_(float(name.endswith("weight")))
    return module


def _unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=128,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(5, 10, 20),
        transformer_layers_per_block=(1, 2, 10),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
        cross_attention_dim=2048,
    ).eval()


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        sample_size=1024,
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        scaling_factor=0.13025,
    ).eval()


def _encoder(width: int, *, layers: int, heads: int, activation: str) -> CLIPTextConfig:
    return CLIPTextConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        hidden_act=activation,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )


def _tokenizer() -> CLIPTokenizer:
    """Return a byte-level tokenizer without merges: the length is what matters here, and it is always 77."""
    letters = [chr(code) for code in range(33, 127)]
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{each}</w>" for each in letters)]
    return CLIPTokenizer(vocab={token: index for index, token in enumerate(tokens)}, merges=[], model_max_length=77)
