"""What goes with the pipelines of `tiny`: adapters, a safety classifier, and damage."""

# mypy: disable-error-code="no-untyped-call, no-any-return, attr-defined, call-arg, operator"
# (the libraries are not typed)

from pathlib import Path

import diffusers
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DiffusionPipeline
from peft import LoraConfig, get_peft_model_state_dict
from transformers import ViTConfig, ViTForImageClassification

PROCESSOR = '{"image_processor_type": "ViTImageProcessor", "size": {"height": 16, "width": 16}}'


def save_lora(base: Path, folder: Path, *, seed: int = 1) -> Path:
    """Save a LoRA adapter for a tiny pipeline, strong enough to be seen, and return its folder."""
    torch.manual_seed(seed)
    index = DiffusionPipeline.load_config(base)
    core = "unet" if "unet" in index else "transformer"
    network = getattr(diffusers, index[core][1]).from_pretrained(base / core)
    network.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=["to_q", "to_k", "to_v"]))
    state = {key: torch.randn_like(value) * 0.5 for key, value in get_peft_model_state_dict(network).items()}
    getattr(diffusers, index["_class_name"]).save_lora_weights(folder, **{f"{core}_lora_layers": state})
    return folder


def save_tiny_vae(folder: Path, *, channels: int = 4, seed: int = 2) -> Path:
    """Save a tiny autoencoder for the latents of `tiny`'s pipelines and return its folder."""
    torch.manual_seed(seed)
    AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
        latent_channels=channels,
    ).save_pretrained(folder)
    return folder


def save_classifier(folder: Path, *, fires: bool) -> Path:
    """Save an image classifier with the labels normal and nsfw whose head is set to fire always or never."""
    torch.manual_seed(0)
    labels = {0: "normal", 1: "nsfw"}
    model = ViTForImageClassification(
        ViTConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            image_size=16,
            patch_size=8,
            id2label=labels,
            label2id={name: number for number, name in labels.items()},
        )
    )
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([-4.0, 4.0] if fires else [4.0, -4.0]))
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(PROCESSOR)
    return folder


def damage(folder: Path, *, nan: bool) -> Path:
    """Change a saved pipeline's VAE so that it decodes to NaN, or to black."""
    vae = AutoencoderKL.from_pretrained(folder / "vae")
    with torch.no_grad():
        vae.decoder.conv_out.weight.zero_()
        vae.decoder.conv_out.bias.fill_(float("nan") if nan else -1.0)
    vae.save_pretrained(folder / "vae")
    return folder
