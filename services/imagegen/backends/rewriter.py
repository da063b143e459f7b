"""Asks rewrite_llm for a safer prompt."""

import logging

import grpc

from atelier.common.v1 import decision_pb2
from atelier.rewrite.v1 import rewrite_service_pb2, rewrite_service_pb2_grpc
from servekit import context as serving
from servekit import tracing
from servekit.channels import Link, RenewedChannel
from servekit.server import channel_options
from services.imagegen.events import RewrittenPrompt

logger = logging.getLogger(__name__)

_MAX_MESSAGE_BYTES = 1024 * 1024
_REWRITE = "/atelier.rewrite.v1.RewriteService/RewritePrompt"


class GrpcRewriter:
    """`ports.Rewriter` over rewrite_llm. A service that does not answer costs the rung, never the request."""

    def __init__(self, address: str, timeout_s: float, link: Link) -> None:
        self._address = address
        self._timeout_s = timeout_s
        options = channel_options(_MAX_MESSAGE_BYTES)
        self._connection = RenewedChannel(link, lambda: link.open(address, options), grace_s=timeout_s)

    async def __call__(self, prompt: str) -> RewrittenPrompt | None:
        """Return a safe form of a prompt whose picture was flagged, or None if there is none."""
        stub = rewrite_service_pb2_grpc.RewriteServiceStub(self._connection.current())
        request = rewrite_service_pb2.RewritePromptRequest(prompt=prompt, flagged_output=True)
        call = serving.find()
        try:
            with tracing.onward(_REWRITE, call.outgoing_metadata() if call else ()) as metadata:
                answer = await stub.RewritePrompt(request, timeout=self._timeout_s, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            logger.warning("rewrite_llm at %s did not answer: %s", self._address, error.code().name)
            return None
        if answer.verdict != decision_pb2.VERDICT_ALLOW or not answer.changed:
            return None
        by_llm = answer.source in (decision_pb2.SOURCE_LLM, decision_pb2.SOURCE_RULES_AND_LLM)
        return RewrittenPrompt(prompt, answer.prompt, answer.reason, by_llm)

    async def close(self) -> None:
        """Close the channel."""
        await self._connection.close()
