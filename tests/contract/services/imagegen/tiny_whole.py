"""Tiny pipelines of families that run whole, built and saved like those of `tiny`."""

# mypy: disable-error-code="no-untyped-call, no-any-return, attr-defined, call-arg, operator"
# (the libraries are not typed)

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
)

from tests.contract.services.imagegen import tiny

CHAT = "{% for message in messages %}<|im_start|>{{ message.content }}<|im_end|>{% endfor %}"
LETTERS = [chr(code) for code in range(33, 127)] + ["Ġ", "Ċ"]
MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def save_z_image(folder: Path, *, seed: int = 0) -> Path:
    """Save a Z-Image pipeline of some ten thousand parameters and return its folder."""
    torch.manual_seed(seed)
    pipeline = ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=tiny.vae(channels=16),
        text_encoder=Qwen3Model(_qwen3(layers=2)).eval(),
        tokenizer=_tokenizer(),
        transformer=ZImageTransformer2DModel(
            dim=32,
            n_layers=1,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=16,
            axes_dims=[8, 4, 4],
            axes_lens=[256, 32, 32],
        ).eval(),
    )
    return tiny.saved(pipeline, folder)


def _qwen3(*, layers: int) -> Qwen3Config:
    return Qwen3Config(
        vocab_size=len(LETTERS) + len(MARKS),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
    )


def save_flux2_klein(folder: Path, *, seed: int = 0) -> Path:
    """Save a FLUX.2 [klein] pipeline of some ten thousand parameters and return its folder.

    Its encoder is deep because the pipeline reads three layers, the last of them the 27th.
    """
    torch.manual_seed(seed)
    pipeline = Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=AutoencoderKLFlux2(
            block_out_channels=(16, 16),
            layers_per_block=1,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4,
            norm_num_groups=4,
            sample_size=32,
        ).eval(),
        text_encoder=Qwen3ForCausalLM(_qwen3(layers=28)).eval(),
        tokenizer=_tokenizer(),
        transformer=Flux2Transformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=48,
            timestep_guidance_channels=16,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=False,
        ).eval(),
        is_distilled=True,
    )
    return tiny.saved(pipeline, folder)


def save_qwen_image(folder: Path, *, seed: int = 0) -> Path:
    """Save a Qwen-Image pipeline of some ten thousand parameters and return its folder."""
    torch.manual_seed(seed)
    layers = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    pipeline = QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=AutoencoderKLQwenImage(
            base_dim=8,
            z_dim=4,
            dim_mult=[1, 2],
            num_res_blocks=1,
            temperal_downsample=[False],
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
        ).eval(),
        text_encoder=Qwen2_5_VLForConditionalGeneration(
            Qwen2_5_VLConfig(
                text_config={
                    **layers,
                    "num_key_value_heads": 2,
                    "vocab_size": len(LETTERS) + len(MARKS),
                    "rope_parameters": rope,
                    "bos_token_id": 0,
                    "eos_token_id": 2,
                },
                vision_config=vision,
            )
        ).eval(),
        tokenizer=_tokenizer(),
        transformer=QwenImageTransformer2DModel(
            in_channels=16,
            out_channels=4,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            axes_dims_rope=(8, 4, 4),
        ).eval(),
    )
    return tiny.saved(pipeline, folder)


def _tokenizer() -> Qwen2Tokenizer:
    """Return a byte-level tokenizer without merges: every letter is a token."""
    vocabulary = {token: number for number, token in enumerate([*MARKS, *LETTERS])}
    return Qwen2Tokenizer(vocab=vocabulary, merges=[], chat_template=CHAT, additional_special_tokens=MARKS[1:])
