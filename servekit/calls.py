"""What happens around every call, whatever its kind: identity, deadline, errors, metrics, one log line."""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, TypeAlias

import grpc

from servekit import status
from servekit.access import Credentials, Guard
from servekit.context import REQUEST_ID_KEY, RequestContext, activate, current
from servekit.errors import Cancelled, ServingError
from servekit.gate import Gate, is_infrastructure
from servekit.metrics import MethodMetrics
from servekit.tracing import Tracing

ServicerContext: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Body: TypeAlias = Callable[[Any, ServicerContext], Awaitable[Any]]

logger = logging.getLogger("servekit.rpc")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_LATE_S, _LATE_FRACTION = 0.05, 0.02
"""A caller gives up before the deadline he sent reaches zero here: his clock started earlier, and gRPC rounds up."""
_OUR_FAULT = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}


class Calls:
    """Runs the body of each call."""

    def __init__(
        self,
        gate: Gate,
        guard: Guard,
        *,
        default_deadline_s: float | None,
        guard_reflection: bool = False,
        tracing: Tracing | None = None,
    ) -> None:
        self._gate = gate
        self._guard = guard
        self._default_deadline_s = default_deadline_s
        self._unguarded = ("/grpc.health.",) if guard_reflection else ("/grpc.",)
        self._tracing = tracing

    async def run(self, method: str, metrics: MethodMetrics, body: Body, request: Any, context: ServicerContext) -> Any:
        """Return what `body` returns, or end the call with the status of what it raises."""
        started = time.perf_counter()
        metrics.started.inc()
        limit_s = self._arrive(method, context)
        code, failure = grpc.StatusCode.UNKNOWN, None
        try:
            with await self._admit(method, context):
                response = await self._gate.admit(method, limit_s, partial(body, request, context))
            code = _chosen_code(context) or grpc.StatusCode.OK
            return response
        except (Exception, asyncio.CancelledError) as error:
            failure = _judged(error)
            code = _code(failure, context, started)
            if isinstance(failure, asyncio.CancelledError | grpc.aio.AbortError):
                raise
            try:
                await status.abort(context, failure, current().request_id)
            except grpc.aio.InternalError:  # nobody there to tell
                code = _code_of_the_gone(context, started)
                raise asyncio.CancelledError from None
        finally:
            seconds = time.perf_counter() - started
            metrics.ended(code, seconds)
            self._record(context, code, seconds, failure)

    def _arrive(self, method: str, context: ServicerContext) -> float | None:
        """Make the call's `RequestContext` current and return the limit that is ours to keep, in seconds."""
        request_id = _request_id(context)
        context.set_trailing_metadata(((REQUEST_ID_KEY, request_id),))
        remaining_s, limit_s = _remaining_s(context), None
        if remaining_s is None and not self._gate.is_lasting(method):
            remaining_s = limit_s = self._default_deadline_s
        deadline = None if remaining_s is None else time.monotonic() + remaining_s
        trace = None
        if self._tracing is not None and not is_infrastructure(method):
            trace = self._tracing.begin(method, request_id, context.invocation_metadata() or ())
        activate(RequestContext(request_id=request_id, caller="", method=method, deadline=deadline, trace=trace))
        return limit_s

    async def _admit(self, method: str, context: ServicerContext) -> AbstractContextManager[None]:
        if method.startswith(self._unguarded):
            return nullcontext()
        return await self._guard.admit(method, Credentials.of(context))

    def _record(
        self, context: ServicerContext, code: grpc.StatusCode, seconds: float, failure: BaseException | None
    ) -> None:
        call, peer = current(), context.peer().rpartition(":")[0]
        if not call.method.startswith(self._unguarded):
            self._guard.ended(code.name, failure, peer)
        _log(peer, code, seconds, failure)
        if call.trace is not None:
            call.trace.end(code.name)


def _judged(error: BaseException) -> BaseException:
    """Tell a call that was cancelled from a handler that let a `CancelledError` of its own escape."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and not task.cancelling():
        return Cancelled("the work was cancelled inside the server")
    return error


def _code(failure: BaseException, context: ServicerContext, started: float) -> grpc.StatusCode:
    if isinstance(failure, grpc.aio.AbortError):
        return context.code()
    if isinstance(failure, asyncio.CancelledError):
        return _code_of_the_gone(context, started)
    return status.code_of(failure)


def _code_of_the_gone(context: ServicerContext, started: float) -> grpc.StatusCode:
    """Tell a caller who cancelled from one whose deadline passed; both just hang up."""
    remaining_s = _remaining_s(context)
    slack_s = _LATE_S + _LATE_FRACTION * (time.perf_counter() - started)
    late = remaining_s is not None and remaining_s <= slack_s
    return grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED


def _remaining_s(context: ServicerContext) -> float | None:
    return context.time_remaining()  # None without a deadline, whatever the stubs say


def _chosen_code(context: ServicerContext) -> grpc.StatusCode | None:
    return context.code()  # None unless the handler set one, whatever the stubs say


def _request_id(context: ServicerContext) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID_KEY and isinstance(value, str) and _REQUEST_ID.fullmatch(value):
            return value
    return str(uuid.uuid4())


def _log(peer: str, code: grpc.StatusCode, seconds: float, failure: BaseException | None) -> None:
    call = current()
    ours = code in _OUR_FAULT
    level = logging.ERROR if ours else logging.DEBUG if is_infrastructure(call.method) else logging.INFO
    if not logger.isEnabledFor(level):
        return
    facts = {
        "method": call.method,
        "code": code.name,
        "seconds": round(seconds, 6),
        "caller": call.caller,
        "peer": peer,
    }
    if isinstance(failure, ServingError):
        facts["reason"] = failure.reason
    logger.log(level, "call ended", extra=facts, exc_info=failure if ours else None)
