"""The router's own RPCs: pictures, dry runs, the servers. VoiceService is relayed, see `relay`."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing, contextmanager, nullcontext
from time import perf_counter
from typing import Any, TypeAlias

import grpc

from atelier.imagegen.v1 import image_service_pb2
from atelier.router.v1 import router_service_pb2, router_service_pb2_grpc
from servekit.errors import InvalidRequest
from services.router import convert
from services.router.convert import GenerateRequest, GenerateResponse
from services.router.domain import Decision, PromptBlocked, Rewriting, Verdict
from services.router.forward import Backends, Forward
from services.router.hop import Hop, onward
from services.router.route import ImageRouter
from services.router.slots import Slots

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_SERVICE = image_service_pb2.DESCRIPTOR.services_by_name["ImageService"].full_name
_REQUEST = "request."
"""Where a dry run has its image request."""
ListServers: TypeAlias = Callable[[], Awaitable[Sequence[router_service_pb2.Backend]]]


class ImageServicer:
    """Serves `ImageService` by choosing a model and a replica, and passing on, encoded as it is, what that says."""

    def __init__(
        self, router: ImageRouter, backends: Backends, slots: Slots, *, margin_s: float, speculative_load: bool
    ) -> None:
        self._router = router
        self._backends = backends
        self._slots = slots
        self._margin_s = margin_s
        self._speculative_load = speculative_load

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the handler of the service; its answers are encoded already."""
        generate: grpc.RpcMethodHandler[GenerateRequest, bytes] = grpc.unary_stream_rpc_method_handler(
            self.generate, GenerateRequest.FromString
        )
        return grpc.method_handlers_generic_handler(_SERVICE, {"Generate": generate})

    async def generate(self, request: GenerateRequest, context: Context) -> AsyncGenerator[bytes, None]:
        """Stream the decision, the change of the prompt if any, and every event of the server, encoded."""
        with self._slots.one():
            began = perf_counter()
            ask = convert.ask(request)
            hop = onward(context.invocation_metadata(), self._margin_s)
            decision = await self._router.route(ask)
            self._router.enforce(ask, decision.screening)
            with self._warming(request, decision, hop):
                with self._backends.lease(decision.replica):  # so that who comes meanwhile sees it busy
                    yield GenerateResponse(routed=convert.routed(decision)).SerializeToString()
                    rewriting = await self._router.rewrite(ask, decision.screening)
                    if rewriting is not None:
                        yield GenerateResponse(rewritten=convert.rewritten(rewriting)).SerializeToString()
                prompt = rewriting.prompt if rewriting else ask.prompt
                forward = Forward(self._router, self._backends, convert.forwarded(request, decision, prompt), hop)
                async with aclosing(forward.events(decision.replica)) as events:
                    async for event in events:
                        if convert.kind(event) == "summary":
                            stages, total_s = _stages(decision, rewriting), perf_counter() - began
                            yield convert.completed(event, stages, forward.lost, total_s)
                        else:
                            yield event

    def _warming(self, request: GenerateRequest, decision: Decision, hop: Hop) -> AbstractContextManager[None]:
        takes_long = decision.screening.verdict is Verdict.REWRITE
        if self._speculative_load and takes_long and not request.dry_run:
            return self._backends.warming(decision.replica, decision.choice.model, hop)
        return nullcontext()


def _stages(decision: Decision, rewriting: Rewriting | None) -> dict[str, float]:
    judgement = decision.judgement
    return {
        "judge" if judgement.selection else "screen": judgement.seconds,
        "rewrite": rewriting.seconds if rewriting else 0.0,
    }


class RouterServicer(router_service_pb2_grpc.RouterServiceServicer):
    """Serves `RouterService`: decisions without pictures, and the servers behind the router."""

    def __init__(self, router: ImageRouter, backends: Backends, list_servers: ListServers, *, margin_s: float) -> None:
        self._router = router
        self._backends = backends
        self._list_servers = list_servers
        self._margin_s = margin_s

    async def Route(
        self, request: router_service_pb2.RouteRequest, context: Context
    ) -> router_service_pb2.RouteResponse:
        """Return the decision. A prompt that policy forbids comes with its screening and without a plan.

        What else the picture itself would fail for is raised.
        """
        with _wrong_at(_REQUEST):
            return await self._route(request, context)

    async def _route(
        self, request: router_service_pb2.RouteRequest, context: Context
    ) -> router_service_pb2.RouteResponse:
        ask = convert.ask(request.request, at=_REQUEST)
        decision = await self._router.route(ask)
        response = router_service_pb2.RouteResponse(
            routed=convert.routed(decision), screening=convert.screening(decision.judgement)
        )
        try:
            self._router.enforce(ask, decision.screening)
            rewriting = await self._router.rewrite(ask, decision.screening)
        except PromptBlocked:
            return response
        if rewriting is not None:
            response.rewritten.CopyFrom(convert.rewritten(rewriting))
        dry = convert.forwarded(request.request, decision, rewriting.prompt if rewriting else ask.prompt)
        dry.dry_run = True
        response.plan.CopyFrom(await self._plan(dry, decision, onward(context.invocation_metadata(), self._margin_s)))
        response.eta_seconds = response.plan.eta_seconds
        return response

    async def _plan(self, request: GenerateRequest, decision: Decision, hop: Hop) -> image_service_pb2.Plan:
        plan = image_service_pb2.Plan()
        async with aclosing(self._backends.generate(decision.replica, request, hop)) as events:
            async for event in events:
                if convert.kind(event) == "plan":
                    plan = GenerateResponse.FromString(event).plan
        return plan

    async def ListBackends(
        self, request: router_service_pb2.ListBackendsRequest, context: Context
    ) -> router_service_pb2.ListBackendsResponse:
        """Ask every server how it is and return the answers."""
        return router_service_pb2.ListBackendsResponse(backends=await self._list_servers())


@contextmanager
def _wrong_at(path: str) -> Iterator[None]:
    """Put `path` before the fields that a server behind the router finds wrong."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        wrong = convert.violations(error, at=path)
        if not wrong:
            raise
        raise InvalidRequest(wrong) from error
