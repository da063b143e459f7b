"""Tiny pipelines built from diffusers' own classes and saved in its own format, for the production loader."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5TokenizerFast

WORDS = ["<pad>", "</s>", "<unk>", "▁a", "▁red", "▁blue", "▁lake", "▁tree", "▁house", "▁"]


def save_flux(folder: Path, *, seed: int = 0, guidance_embeds: bool = False) -> Path:
    """Save a FLUX pipeline of some thousand parameters and return its folder."""
    torch.manual_seed(seed)
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=True),
        vae=_vae(),
        text_encoder=_clip(),
        tokenizer=_clip_tokenizer(folder / "clip-source"),
        text_encoder_2=_t5(),
        tokenizer_2=_t5_tokenizer(),
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
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(16, 16),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
        scaling_factor=1.5,
        shift_factor=0.1,
        use_quant_conv=False,
        use_post_quant_conv=False,
    ).eval()


def _clip() -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            hidden_size=32,
            intermediate_size=37,
            num_attention_heads=4,
            num_hidden_layers=1,
            vocab_size=300,
            max_position_embeddings=77,
            eos_token_id=1,
            bos_token_id=0,
            pad_token_id=1,
        )
    ).eval()


def _clip_tokenizer(folder: Path) -> CLIPTokenizer:
    """Return a byte-level tokenizer without merges: every byte is a token."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(code) for code in range(33, 127)]
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{each}</w>" for each in letters)]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)


def _t5() -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(vocab_size=64, d_model=32, d_ff=37, d_kv=8, num_heads=4, num_layers=1, decoder_start_token_id=0)
    ).eval()


def _t5_tokenizer() -> T5TokenizerFast:
    return T5TokenizerFast(vocab=[(word, -float(index)) for index, word in enumerate(WORDS)], extra_ids=0)
