"""How long a training stage runs, and the learning rate that follows from it."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Budget:
    """A training stage's allowance in minutes of wall time or in steps, whichever ends first.

    `spent` carries the seconds of earlier, interrupted runs, so that a resumed stage keeps its schedule.
    """

    minutes: float = math.inf
    steps: int | None = None
    spent: float = 0.0
    step: int = 0
    clock: Callable[[], float] = time.monotonic
    _since: float = field(init=False)

    def __post_init__(self) -> None:
        self._since = self.clock()

    @property
    def seconds(self) -> float:
        """Wall time used so far, earlier runs included."""
        return self.spent + self.clock() - self._since

    @property
    def progress(self) -> float:
        """The share of the allowance used, 0..1."""
        by_time = self.seconds / (60 * self.minutes)
        by_step = self.step / self.steps if self.steps else 0.0
        return min(1.0, max(by_time, by_step))

    def learning_rate(self, peak: float, warmup_steps: int = 200) -> float:
        """`peak` after a linear warm-up, then down a half cosine to zero at the end of the allowance."""
        warm = min(1.0, (self.step + 1) / warmup_steps)
        return peak * warm * 0.5 * (1 + math.cos(math.pi * self.progress))
