"""What the use cases need from the outside, as protocols."""

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from services.router.domain import Judgement, Model, Replica, Rewriting
from services.router.hop import Hop

Request_contra = TypeVar("Request_contra", contravariant=True)
Event_co = TypeVar("Event_co", covariant=True)


class Judge(Protocol):
    """Judges prompts. Every method raises `JudgeUnavailable` instead of keeping its caller waiting."""

    async def judge(self, prompt: str, candidates: Sequence[Model], default: str) -> Judgement:
        """Say whether the prompt may be used and, if there are candidates, how well each suits it.

        The judgement has no selection if there are no candidates, or none that it takes.
        """

    async def rewrite(self, prompt: str, categories: Collection[str]) -> Rewriting | None:
        """Return a safe form of the prompt, or None if there is none."""


class Replicas(Protocol):
    """The servers that make pictures, as they were when last asked."""

    def replicas(self) -> tuple[Replica, ...]:
        """Return what is known of every server."""

    async def refresh(self) -> None:
        """Ask every server now, briefly."""

    async def explain(self, replica: str, model: str) -> None:
        """Raise why `replica` would not take a request for `model`, which it does not list; return if it would."""


class ImageBackends(Replicas, Protocol[Request_contra, Event_co]):
    """Servers that can be sent to. Requests and events pass through unopened."""

    def lease(self, replica: str) -> AbstractContextManager[object]:
        """Count a request to the server inside the block; raises `ReplicaLost` if it has gone."""

    def generate(self, replica: str, request: Request_contra, hop: Hop) -> AsyncGenerator[Event_co, None]:
        """Stream the events of a generation; raises `ReplicaLost` if the server goes away."""

    def warming(self, replica: str, model: str, hop: Hop) -> AbstractContextManager[None]:
        """Have the model loaded for as long as the context lasts; failures do not matter."""
