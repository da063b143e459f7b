"""The untrained parts of the model in diffusers' and transformers' classes: sizes are chosen here."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5Tokenizer

from recipes.scenes.canvas import SIZE
from recipes.sketch.autoencoder import LATENT_CHANNELS
from recipes.sketch.library import FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel, Scheduler, Transformer
from recipes.sketch.tokens import MAX_TOKENS

TEXT_WIDTH = 160
POOLED_WIDTH = 96
TIME_SHIFT = 3.0
"""How far training times and sampling steps are moved towards noise; 1 leaves them uniform."""
GRID = SIZE // 16
"""Packed tokens along one side: the autoencoder reduces by 8, packing by 2."""


def build_transformer() -> Transformer:
    """The flow transformer; each token is a 2x2 patch of latents."""
    return FluxTransformer2DModel(
        in_channels=4 * LATENT_CHANNELS,
        num_layers=2,
        num_single_layers=4,
        attention_head_dim=40,
        num_attention_heads=4,
        joint_attention_dim=TEXT_WIDTH,
        pooled_projection_dim=POOLED_WIDTH,
        guidance_embeds=False,
        axes_dims_rope=(8, 16, 16),
    )


def build_t5(vocabulary: int) -> T5EncoderModel:
    """The encoder whose states the transformer attends to."""
    return T5EncoderModel(
        T5Config(
            vocab_size=vocabulary,
            d_model=TEXT_WIDTH,
            d_kv=40,
            d_ff=480,
            num_layers=3,
            num_heads=4,
            relative_attention_num_buckets=16,
            relative_attention_max_distance=32,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            use_cache=False,
            is_encoder_decoder=False,
        )
    )


def build_clip(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """The encoder whose pooled state modulates every block."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=POOLED_WIDTH,
            intermediate_size=3 * POOLED_WIDTH,
            projection_dim=POOLED_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_scheduler() -> Scheduler:
    """Euler steps, denser where there is most noise."""
    return FlowMatchEulerDiscreteScheduler(shift=TIME_SHIFT)


@dataclass(frozen=True)
class Prompts:
    """Token ids of a batch of captions, [batch, MAX_TOKENS] each."""

    t5: Tensor
    clip: Tensor


@dataclass(frozen=True)
class Tokenizers:
    """Both tokenizers of the model."""

    t5: T5Tokenizer
    clip: CLIPTokenizer

    def encode(self, captions: list[str], device: torch.device) -> Prompts:
        """Token ids, padded as FluxPipeline pads them."""
        t5, clip = (
            tokenizer(captions, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt")
            for tokenizer in (self.t5, self.clip)
        )
        return Prompts(t5.input_ids.to(device), clip.input_ids.to(device))


class Painter(nn.Module):
    """Everything that is trained on captions: both text encoders and the transformer."""

    def __init__(self, tokenizers: Tokenizers) -> None:
        super().__init__()
        self.t5 = build_t5(len(tokenizers.t5))
        self.clip = build_clip(tokenizers.clip)
        self.transformer = build_transformer()
        rows, columns = torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="ij")
        places = torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).reshape(-1, 3)
        self.register_buffer("_image_places", places.float(), persistent=False)
        self.register_buffer("_text_places", torch.zeros(MAX_TOKENS, 3), persistent=False)

    def forward(self, noisy: Tensor, times: Tensor, prompts: Prompts) -> Tensor:
        """The velocity (noise minus picture) of packed latents [batch, GRID * GRID, 64] at `times` in 0..1."""
        velocity: Tensor = self.transformer(
            hidden_states=noisy,
            timestep=times,
            encoder_hidden_states=self.t5(prompts.t5)[0],
            pooled_projections=self.clip(prompts.clip).pooler_output,
            img_ids=self.get_buffer("_image_places"),
            txt_ids=self.get_buffer("_text_places"),
            return_dict=False,
        )[0]
        return velocity


def pack(latents: Tensor) -> Tensor:
    """Latents [batch, channels, 2h, 2w] as FluxPipeline's tokens [batch, h * w, 4 * channels]."""
    batch, channels, height, width = latents.shape
    patches = latents.view(batch, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(batch, (height // 2) * (width // 2), 4 * channels)
