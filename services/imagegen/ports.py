"""What the use case needs from the outside, as protocols."""

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from services.imagegen.domain import Decoded, Job, Pixels, Verdict
from services.imagegen.events import RewrittenPrompt


class State(Protocol):
    """A picture in the making. Belongs to the engine that prepared it."""

    @property
    def done(self) -> int:
        """Denoising steps taken."""

    @property
    def total(self) -> int:
        """Denoising steps in all."""

    @property
    def forecasts(self) -> bool:
        """True if the next step takes no forward pass: it needs no company and costs next to nothing."""

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt, read or not; 0 if the engine cannot tell."""

    @property
    def rows(self) -> int:
        """Rows of a forward pass that the next step takes: with a negative prompt `MOST_ROWS`, else one."""

    @property
    def batch_key(self) -> Hashable:
        """States with equal keys may share a forward pass, whatever their steps."""


Pulse = Callable[[State], None]
"""Called after a step of a state; raises `Cancelled` or `DeadlineExceeded` if nobody wants the picture any more."""


class Engine(Protocol):
    """Makes pictures a step at a time. Not thread-safe: every call comes from the device thread."""

    @property
    def max_batch(self) -> int:
        """States that `step` takes at most."""

    @property
    def modules(self) -> Sequence[Any]:
        """The torch modules that hold the weights, adapters included."""

    @property
    def resident_bytes(self) -> int:
        """Bytes that the weights take, measured."""

    def prepare(self, job: Job) -> State:
        """Encode the prompt and draw the noise."""

    def prepare_all(self, jobs: Sequence[Job]) -> Sequence[State]:
        """Do as `prepare` for each of some jobs with equal adapters, at once where that takes less time."""

    def step(self, states: Sequence[State], pulse: Pulse) -> None:
        """Advance every state by at least one step.

        An engine that takes several steps in one call calls `pulse` between them and lets its exceptions pass.
        """

    def finish(self, state: State, *, fp32: bool = False) -> Decoded:
        """Decode the latents; `fp32` decodes them in 32-bit floating point. May be called again."""

    def finish_all(self, states: Sequence[State]) -> Sequence[Decoded]:
        """Do as `finish` for each of some states with equal batch keys, at once where that takes less time."""

    def preview(self, state: State) -> Pixels | None:
        """Return a small picture of where the state is heading, or None if this engine cannot tell."""

    def watching(self, look: Callable[[], None]) -> AbstractContextManager[None]:
        """Inside the block, call `look` now and then while the engine works.

        What it raises leaves the work, whose state is not gone on with; the engine is as good as before.
        """


class FetchAdapter(Protocol):
    """Sees to it that adapters are on this disk."""

    async def __call__(self, adapter_id: str) -> None:
        """Return once the adapter is here. Raises `ModelUnavailable` if it cannot be had."""


class CountTokens(Protocol):
    """Tells how long a prompt is to a model."""

    async def __call__(self, model: str, prompt: str) -> int:
        """Return the tokens of a prompt, read or not; 0 if nobody can tell."""


class SafetyCheck(Protocol):
    """Judges finished pictures."""

    async def __call__(self, pixels: Pixels) -> Verdict:
        """Return the verdict on one picture."""


class Rewriter(Protocol):
    """Makes prompts safe."""

    async def __call__(self, prompt: str) -> RewrittenPrompt | None:
        """Return a safe form of a prompt whose picture was flagged, or None if none was found or nobody answered."""
