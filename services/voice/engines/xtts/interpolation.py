"""Linear interpolation of a stream: in pieces what `torch.nn.functional.interpolate` returns at once."""

import math

import torch


class Interpolator:
    """Stretches frames (channels, n) by `scale` along their last axis.

    Output `j` stands at `(j + 0.5) / scale - 0.5` between the inputs, clamped to them (`align_corners=False`). One
    input is kept back, because an output may need its right neighbour.
    """

    def __init__(self, scale: float) -> None:
        self._scale = scale
        self._begin = 0
        """Place of the first frame in `_kept`."""
        self._kept: torch.Tensor | None = None
        self._made = 0

    def push(self, frames: torch.Tensor, *, final: bool) -> torch.Tensor:
        """Return the outputs that can be computed now; all that are left if these are the last frames."""
        kept = frames if self._kept is None else torch.cat([self._kept, frames], dim=-1)
        end = self._begin + kept.shape[-1]
        stop = math.floor(end * self._scale) if final else self._safe(end)
        stop = max(stop, self._made)
        at = ((torch.arange(self._made, stop, dtype=torch.float64) + 0.5) / self._scale - 0.5).clamp(min=0)
        left = at.floor().long()
        weight = (at - left).to(kept.dtype).to(kept.device)
        lower = (left - self._begin).to(kept.device)
        upper = (left + 1).clamp(max=end - 1).to(kept.device) - self._begin
        made = kept[:, lower] * (1 - weight) + kept[:, upper] * weight
        self._made = stop
        self._forget(kept, end)
        return made

    def _safe(self, end: int) -> int:
        """Return how many outputs have both their neighbours among the first `end` inputs."""
        return max(0, math.floor((end - 0.5) * self._scale - 0.5))

    def _forget(self, kept: torch.Tensor, end: int) -> None:
        """Drop the inputs left of the next output."""
        place = max(0.0, (self._made + 0.5) / self._scale - 0.5)
        first = min(math.floor(place), end - 1)
        self._kept = kept[:, first - self._begin :]
        self._begin = first
