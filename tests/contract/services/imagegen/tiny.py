"""Tiny pipelines built from diffusers' own classes and saved in its own format, for the production loader."""

# mypy: disable-error-code="no-untyped-call, no-any-return, attr-defined, call-arg, operator"
# (the libraries are not typed)

import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    HiDreamImagePipeline,
    HiDreamImageTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

WORDS = ["<pad>", "</s>", "<unk>", "▁a", "▁red", "▁blue", "▁lake", "▁tree", "▁house", "▁"]


def save_flux(folder: Path, *, seed: int = 0, guidance_embeds: bool = False) -> Path:
    """Save a FLUX pipeline of some thousand parameters and return its folder."""
    torch.manual_seed(seed)
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=True),
        vae=vae(),
        text_encoder=_clip(),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=_t5(),
        tokenizer_2=t5_tokenizer(),
        transformer=FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            axes_dims_rope=(4, 6, 6),
            guidance_embeds=guidance_embeds,
        ),
    )
    return saved(pipeline, folder)


def saved(pipeline: Any, folder: Path) -> Path:
    """Save a pipeline as the hub has it and return its folder."""
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def vae(channels: int = 4) -> AutoencoderKL:
    """Return an autoencoder of flow models."""
    return AutoencoderKL(
        block_out_channels=(16, 16),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        norm_num_groups=4,
        sample_size=32,
        scaling_factor=1.5,
        shift_factor=0.1,
        use_quant_conv=False,
        use_post_quant_conv=False,
    ).eval()


def _clip_config() -> CLIPTextConfig:
    return CLIPTextConfig(
        hidden_size=32,
        intermediate_size=37,
        projection_dim=32,
        num_attention_heads=4,
        num_hidden_layers=2,
        vocab_size=300,
        max_position_embeddings=77,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )


def _clip() -> CLIPTextModel:
    return CLIPTextModel(_clip_config()).eval()


def _clip_tokenizer() -> CLIPTokenizer:
    """Return a byte-level tokenizer without merges: every byte is a token."""
    letters = [chr(code) for code in range(33, 127)]
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{each}</w>" for each in letters)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def _t5(width: int = 32) -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(vocab_size=64, d_model=width, d_ff=37, d_kv=8, num_heads=4, num_layers=1, decoder_start_token_id=0)
    ).eval()


def t5_tokenizer() -> T5TokenizerFast:
    return T5TokenizerFast(vocab=[(word, -float(index)) for index, word in enumerate(WORDS)], extra_ids=0)


def save_sdxl(folder: Path, *, seed: int = 0, guidance_size: int | None = None) -> Path:
    """Save an SDXL pipeline of some ten thousand parameters and return its folder.

    `guidance_size` is the length of the embedded guidance scale, for weights that it was distilled into.
    """
    torch.manual_seed(seed)
    pipeline = StableDiffusionXLPipeline(
        vae=_sdxl_vae(),
        text_encoder=_clip(),
        text_encoder_2=CLIPTextModelWithProjection(_clip_config()).eval(),
        tokenizer=_clip_tokenizer(),
        tokenizer_2=_clip_tokenizer(),
        unet=_unet(text_size=64, added=6, time_cond_proj_dim=guidance_size),
        scheduler=_sdxl_scheduler(),
        add_watermarker=False,
    )
    return saved(pipeline, folder)


def save_refiner(folder: Path, *, seed: int = 3) -> Path:
    """Save the network and scheduler of an SDXL refiner, the rest of which is the base's, and return its folder."""
    torch.manual_seed(seed)
    pipeline = StableDiffusionXLImg2ImgPipeline(
        vae=_sdxl_vae(),
        text_encoder=None,
        text_encoder_2=CLIPTextModelWithProjection(_clip_config()).eval(),
        tokenizer=None,
        tokenizer_2=_clip_tokenizer(),
        unet=_unet(text_size=32, added=5),
        scheduler=_sdxl_scheduler(),
        requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )
    saved(pipeline, folder)
    for shared in ("vae", "text_encoder_2", "tokenizer_2"):
        shutil.rmtree(folder / shared)
    return folder


def _sdxl_vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(16, 16),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
    ).eval()


def _sdxl_scheduler() -> EulerDiscreteScheduler:
    return EulerDiscreteScheduler(beta_schedule="scaled_linear", timestep_spacing="leading", steps_offset=1)


def _unet(*, text_size: int, added: int, time_cond_proj_dim: int | None = None) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        block_out_channels=(16, 32),
        layers_per_block=1,
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 1),
        projection_class_embeddings_input_dim=added * 8 + 32,
        cross_attention_dim=text_size,
        norm_num_groups=4,
        time_cond_proj_dim=time_cond_proj_dim,
    )


def save_sd3(folder: Path, *, seed: int = 0, t5: bool = True, dynamic: bool = False) -> Path:
    """Save a Stable Diffusion 3 pipeline of some ten thousand parameters and return its folder.

    `t5` tells whether it has the third encoder, `dynamic` whether its steps depend on the size of the picture.
    """
    torch.manual_seed(seed)
    pipeline = StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=16,
            patch_size=1,
            in_channels=16,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_projection_dim=32,
            joint_attention_dim=64,
            pooled_projection_dim=64,
            out_channels=16,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=dynamic),
        vae=vae(channels=16),
        text_encoder=CLIPTextModelWithProjection(_clip_config()).eval(),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=CLIPTextModelWithProjection(_clip_config()).eval(),
        tokenizer_2=_clip_tokenizer(),
        text_encoder_3=_t5(width=64) if t5 else None,
        tokenizer_3=t5_tokenizer() if t5 else None,
    )
    return saved(pipeline, folder)


def save_hidream(folder: Path, *, seed: int = 0) -> Path:
    """Save a HiDream pipeline of some ten thousand parameters, without its Llama, and return its folder."""
    torch.manual_seed(seed)
    pipeline = HiDreamImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(),
        text_encoder=CLIPTextModelWithProjection(_clip_config()).eval(),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=CLIPTextModelWithProjection(_clip_config()).eval(),
        tokenizer_2=_clip_tokenizer(),
        text_encoder_3=_t5(),
        tokenizer_3=t5_tokenizer(),
        text_encoder_4=None,
        tokenizer_4=None,
        transformer=HiDreamImageTransformer2DModel(
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_channels=[32, 16],
            text_emb_dim=64,
            num_routed_experts=4,
            num_activated_experts=2,
            axes_dims_rope=(4, 2, 2),
            max_resolution=(32, 32),
            llama_layers=(0, 1),
        ).eval(),
    )
    return saved(pipeline, folder)


def save_llama(folder: Path, *, seed: int = 4) -> Path:
    """Save a Llama of some thousand parameters with its tokenizer, HiDream's fourth encoder, and return its folder."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        eos_token_id=1,
        bos_token_id=0,
    )
    LlamaForCausalLM(config).eval().save_pretrained(folder)
    words = Tokenizer(WordLevel({word.strip("▁"): number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>", unk_token="<unk>").save_pretrained(folder)
    return folder
