"""One text on its way through GPT and vocoder. All that another device would need to go on is kept on the host."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from services.voice.domain import Samples
from services.voice.engines.xtts.gpt import Prompt
from services.voice.engines.xtts.sampling import Sampler
from services.voice.engines.xtts.vocoder import Vocoder, VocoderStream

FIRST_TOKENS = 8
"""Audio tokens before the first sound: the least that leaves 0.15 s of it beyond the vocoder's context."""
MOST_TOKENS = 32
"""Audio tokens between pieces later on; pieces double up to this, since each costs the vocoder its context again."""


@dataclass(frozen=True, slots=True)
class Speech:
    """What is to be said, by whom: text tokens, conditioning (tokens, width) and speaker (channels,), both float32."""

    text: tuple[int, ...]
    conditioning: torch.Tensor
    speaker: torch.Tensor
    seed: int
    rate: float = 1.0


class Row:
    """A speech while it is spoken; `emit` takes its samples."""

    def __init__(
        self,
        speech: Speech,
        sampler: Sampler,
        stream: VocoderStream,
        emit: Callable[[Samples], None],
        *,
        stop: int,
        longest: int,
    ) -> None:
        self.codes: list[int] = []
        self.finished = False
        self._speech = speech
        self._sampler = sampler
        self._stream = stream
        self._emit = emit
        self._stop = stop
        self._longest = longest
        self._fresh: list[torch.Tensor] = []
        self._piece = FIRST_TOKENS
        self._owes_audio = False

    @property
    def prompt(self) -> Prompt:
        """What the GPT is told to begin, or to go on elsewhere."""
        return Prompt(self._speech.conditioning, self._speech.text, self.codes)

    def hear(self, latent: torch.Tensor, logits: torch.Tensor) -> None:
        """Take what the GPT says of the next token: latent (width,), logits (tokens,).

        The latent from which the end was drawn is spoken too, as upstream does.
        """
        token = self._sampler.draw(logits)
        self._fresh.append(latent)
        self.codes.append(token)
        self.finished = token == self._stop or len(self.codes) >= self._longest
        if self.finished or len(self._fresh) >= self._piece:
            self._stream.stretch(torch.stack(self._fresh, dim=1), final=self.finished)
            self._fresh.clear()
            self._piece = min(2 * self._piece, MOST_TOKENS)
            self._owes_audio = True

    def sing(self, vocoder: Vocoder) -> None:
        """Emit the samples that are due, if any."""
        if self._owes_audio:
            samples = self._stream.decode(vocoder, final=self.finished)
            self._owes_audio = False
            if len(samples):
                self._emit(samples)
