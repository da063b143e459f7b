"""Channels to the servers behind the router, with what gRPC itself offers against trouble."""

import json
from collections.abc import Sequence
from typing import Any

import grpc

from servekit.channels import Link
from servekit.server import channel_options


def open_channel(
    target: str,
    link: Link,
    *,
    max_message_bytes: int,
    repeatable: Sequence[str] = (),
    watch_health: bool = False,
    server_name: str = "",
) -> grpc.aio.Channel:
    """Return a channel to `target` that goes round its addresses, with `watch_health` round the healthy ones only.

    `server_name` is the name in the server's certificate where `target` is an address.

    `repeatable` are the full names (`package.Service/Method`) of unary methods that may be sent twice: gRPC repeats
    them when a server is unreachable, as long as most calls succeed.
    """
    options: list[tuple[str, Any]] = [
        *channel_options(max_message_bytes),
        ("grpc.service_config", json.dumps(_service_config(repeatable, watch_health))),
    ]
    return link.open(target, options, server_name=server_name)


def _service_config(repeatable: Sequence[str], watch_health: bool) -> dict[str, Any]:
    names = [dict(zip(("service", "method"), name.split("/"), strict=True)) for name in repeatable]
    retry = {
        "maxAttempts": 3,
        "initialBackoff": "0.02s",
        "maxBackoff": "0.1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [{"name": names, "waitForReady": False, "retryPolicy": retry}] if names else [],
        **({"healthCheckConfig": {"serviceName": ""}} if watch_health else {}),
        "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.5},
    }
