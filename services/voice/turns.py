"""Which calls are open, and which of them may speak now."""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

from servekit.admission import Admission, Ticket
from servekit.errors import Overloaded
from services.voice.loan import Loan
from services.voice.stopwatch import Stopwatch

OnQueued = Callable[[int, float], None]
"""Called with the number of calls ahead and the estimated seconds until work starts."""
OnTaken = Callable[[float, float], None]
"""Called with the seconds that a place was waited for, and those that an engine was."""

RETRY_UNMEASURED_S = 1.0
"""Retry hint while nothing has been measured yet."""


class _Unfinished(Exception):
    """A turn ends before its call: how long it took says nothing about the pace of work."""


class Calls:
    """At most `most` open calls, whatever they wait for, before the places of admission.

    All who ask for a place have opened a call before. As places and queue of admission together hold `most`, nobody
    who has begun is ever refused a place.
    """

    def __init__(self, admission: Admission, *, most: int) -> None:
        self._admission = admission
        self._most = most
        self._open = 0
        self._resuming = 0

    @property
    def contended(self) -> bool:
        """True while a call that has begun waits for a place."""
        return self._resuming > 0

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Be one of the open calls for the block. Raises `Overloaded`."""
        if self._open >= self._most:
            retry_after_s = self._admission.eta_s() / self._most or RETRY_UNMEASURED_S
            raise Overloaded(f"{self._open} calls are open, the limit", retry_after_s=retry_after_s)
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    @asynccontextmanager
    async def place(
        self, model: str, *, work: float = 1.0, resumes: bool = False, on_queued: OnQueued | None = None
    ) -> AsyncGenerator[Ticket, None]:
        """Wait for a place and hold it for the block. A call that `resumes` goes before those that have not begun."""
        async with AsyncExitStack() as held:
            admitted = self._admission.admit(model, priority=int(resumes), work=work, on_queued=on_queued)
            with self._counted(resumes):
                ticket = await held.enter_async_context(admitted)
            yield ticket

    @contextmanager
    def _counted(self, resumes: bool) -> Iterator[None]:
        self._resuming += resumes
        try:
            yield
        finally:
            self._resuming -= resumes


@dataclass(slots=True)
class Turn:
    """The right to speak for a while."""

    finished: bool = False
    """True if all has been said."""


class Turns:
    """The turns of one call: in each it has a place and its engine, between them it has neither and holds up nobody.

    `characters` is the length of its text if it is known, for estimates of the queue. `on_queued` is called before the
    first turn only: a call that has begun stays begun. `on_taken` is called in the first turn, and in those after it
    that a place was waited for. The `watch` is paused while a place or an engine is waited for.
    """

    def __init__(
        self,
        calls: Calls,
        loan: Loan,
        model: str,
        *,
        characters: int,
        watch: Stopwatch,
        on_queued: OnQueued,
        on_taken: OnTaken,
    ) -> None:
        self._calls = calls
        self._loan = loan
        self._model = model
        self._characters = characters
        self._watch = watch
        self._on_queued = on_queued
        self._on_taken = on_taken
        self._waited = False
        self.begun_s: float | None = None
        """When the first turn began, in seconds of the watch; None before it."""
        self.queued_s = 0.0
        self.load_s = 0.0

    @property
    def contended(self) -> bool:
        """True if somebody else who has begun waits for a place: he is to have one after the next sentence."""
        return self._calls.contended

    @asynccontextmanager
    async def take(self, spoken: int) -> AsyncGenerator[Turn, None]:
        """Have a turn for the block, once `spoken` characters have been spoken. Raises what the engine's load raises.

        Only a turn that is `finished` is a measurement of pace.
        """
        turn = Turn()
        with suppress(_Unfinished):
            async with AsyncExitStack() as held:
                with self._watch.paused():
                    await self._enter(held, max(0, self._characters - spoken))
                yield turn
                if not turn.finished:
                    raise _Unfinished

    async def _enter(self, held: AsyncExitStack, work: int) -> None:
        first, asked_s = self.begun_s is None, 0.0 if self.begun_s is None else self._watch.total_s
        self._waited = first
        place = self._calls.place(self._model, work=work, resumes=not first, on_queued=self._queued)
        ticket = await held.enter_async_context(place)
        await held.enter_async_context(self._loan)
        await self._loan.engine(self._model)
        ticket.begin()
        load_s = self._watch.total_s - asked_s - ticket.queued_s
        self.queued_s += ticket.queued_s
        self.load_s += load_s
        if first:
            self.begun_s = self._watch.total_s
        if self._waited:
            self._on_taken(ticket.queued_s, load_s)

    def _queued(self, position: int, eta_s: float) -> None:
        self._waited = True
        if self.begun_s is None:
            self._on_queued(position, eta_s)
