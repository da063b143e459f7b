"""One text on its way through GPT and vocoder. All that another device would need to go on is kept on the host."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from services.voice.domain import Samples
from services.voice.engines.xtts.gpt import Prompt
from services.voice.engines.xtts.sampling import Sampler
from services.voice.engines.xtts.vocoder import VocoderStream, Window

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

    @property
    def due(self) -> bool:
        """True if there is audio to be made."""
        ready = self.finished or len(self._fresh) >= self._piece
        return self._stream.due or (ready and bool(self._fresh))

    @property
    def done(self) -> bool:
        """True if all is said and heard."""
        return self.finished and not self.due

    def window(self) -> Window | None:
        """Return what the vocoder is to decode, if there is enough; then the samples go to `take`."""
        if not self._stream.due:
            self._stretch()
        return self._stream.window() if self._stream.due else None

    def take(self, samples: Samples) -> None:
        """Emit what is new in the samples of the window."""
        self._emit(self._stream.take(samples))

    def _stretch(self) -> None:
        """Give the next piece to the stream; more may have gathered while nobody listened."""
        piece, self._fresh = self._fresh[:MOST_TOKENS], self._fresh[MOST_TOKENS:]
        self._stream.stretch(torch.stack(piece, dim=1), final=self.finished and not self._fresh)
        self._piece = min(2 * self._piece, MOST_TOKENS)
