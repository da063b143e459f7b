"""Is what an engine made of a sentence speech at all? The counterpart of looking for black pictures."""

import numpy as np

from services.voice.domain import Cause, Degenerate, Samples, Utterance
from services.voice.ports import Capabilities

AUDIBLE = 0.002
"""Amplitude above which something can be heard, about -54 dB."""
LONGEST_HELD_S = 2.0
"""Silence at the beginning is held back this long, so that a silent attempt can be made again unheard.

Of an engine that does not stream it is held back to the end, which costs nothing: its audio comes all at once.
"""
CLIPPED_AT = 0.9995
MOST_CLIPPED = 0.05
"""Share of samples at full scale above which speech is noise."""
CLIPPING_FROM_S = 0.25
"""Seconds before the share means anything."""
SPARE_S = 10.0
"""Seconds any text may take, however short."""


class Inspector:
    """Looks at one attempt at one utterance as it streams by."""

    def __init__(self, utterance: Utterance, capabilities: Capabilities) -> None:
        self._rate = capabilities.sample_rate
        self._must_sound = not utterance.ssml and any(character.isalnum() for character in utterance.text)
        longest_s = SPARE_S + capabilities.max_seconds_per_character * len(utterance.text)
        self._most = float("inf") if utterance.ssml else longest_s * self._rate
        self._most_held = LONGEST_HELD_S * self._rate if capabilities.streaming else float("inf")
        self._seen = self._clipped = 0
        self._audible = False
        self._held: list[Samples] = []

    def accept(self, samples: Samples) -> Samples:
        """Return what may be heard now. Raises `Degenerate`."""
        self._check(samples)
        if not self._audible and not self._sounds(samples):
            self._held.append(samples)
            return np.empty(0, np.float32) if self._seen < self._most_held else self._release()
        return np.concatenate((self._release(), samples)) if self._held else samples

    def finish(self) -> Samples:
        """Return what was held back. Raises `Degenerate` if nothing was audible though the text has words."""
        if self._must_sound and not self._audible:
            raise Degenerate(Cause.SILENT)
        return self._release()

    def _check(self, samples: Samples) -> None:
        if not np.isfinite(samples).all():
            raise Degenerate(Cause.NON_FINITE)
        self._seen += len(samples)
        self._clipped += int((np.abs(samples) >= CLIPPED_AT).sum())
        if self._seen > CLIPPING_FROM_S * self._rate and self._clipped > MOST_CLIPPED * self._seen:
            raise Degenerate(Cause.CLIPPED)
        if self._seen > self._most:
            raise Degenerate(Cause.TOO_LONG)

    def _sounds(self, samples: Samples) -> bool:
        self._audible = bool(len(samples)) and float(np.abs(samples).max()) > AUDIBLE
        return self._audible

    def _release(self) -> Samples:
        held, self._held = self._held, []
        return np.concatenate(held) if held else np.empty(0, np.float32)
