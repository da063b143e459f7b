"""Which denoising steps run the network and which are forecast from those that did. Pure."""

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class StepCache:
    """A rule by which steps are computed or forecast: that of diffusers' `TaylorSeerCacheConfig`.

    Every stretch of steps by one network is counted by itself.
    """

    interval: Annotated[int, Field(ge=2, le=10)]
    """Steps from one that is computed to the next."""
    first: Annotated[int, Field(ge=1)] = 3
    """Steps at the beginning that are all computed: the composition is found in them."""
    last: Annotated[int, Field(ge=0)] = 0
    """Steps at the end that are all computed."""
    order: Annotated[int, Field(ge=0, le=3)] = 1
    """Order of the Taylor series; 0 takes the last computed prediction as it is."""

    def computes(self, step: int, total: int) -> bool:
        """Tell whether the network is run for a step, counted from 0."""
        if step < self.first or step >= total - self.last:
            return True
        return (step - self.first - 1) % self.interval == 0

    def computed(self, total: int) -> list[int]:
        """Return the steps that the network is run for."""
        return [step for step in range(total) if self.computes(step, total)]
