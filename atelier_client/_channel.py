"""Options that every channel to a studio uses."""

import json

from atelier_client._credentials import is_loopback

Options = tuple[tuple[str, int | str], ...]

OPTIONS: Options = (
    ("grpc.max_reconnect_backoff_ms", 5_000),  # the default of two minutes would hide a server that came back
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    (
        "grpc.service_config",
        # Only calls that change nothing are retried; a generation is retried by the router, which knows what was sent.
        json.dumps(
            {
                "loadBalancingConfig": [{"round_robin": {}}],
                "methodConfig": [
                    {
                        "name": [
                            {"service": "atelier.models.v1.ModelService", "method": "ListModels"},
                            {"service": "atelier.models.v1.ModelService", "method": "GetStatus"},
                            {"service": "atelier.router.v1.RouterService", "method": "ListBackends"},
                            {"service": "atelier.router.v1.RouterService", "method": "Route"},
                            {"service": "atelier.voice.v1.VoiceService", "method": "ListVoices"},
                            {"service": "atelier.voice.v1.VoiceService", "method": "GetVoice"},
                        ],
                        "retryPolicy": {
                            "maxAttempts": 3,
                            "initialBackoff": "0.1s",
                            "maxBackoff": "1s",
                            "backoffMultiplier": 2,
                            "retryableStatusCodes": ["UNAVAILABLE"],
                        },
                    }
                ],
            }
        ),
    ),
)

DEFAULT_TARGET = "127.0.0.1:50051"
"""Where `make run` puts the router."""

NO_PROXY: Options = (("grpc.enable_http_proxy", 0),)
"""A proxy that `http_proxy` names could not reach a server of this machine, and would be shown the keys for it."""

LONGEST_TIMEOUT = 99_999_999.0
"""Seconds, three years. gRPC counts nanoseconds in 64 bits: what is too long for them would be over at once."""


def options(target: str) -> Options:
    """Return the options of a channel to `target`."""
    return OPTIONS + NO_PROXY if is_loopback(target) else OPTIONS


def checked_timeout(seconds: float | None) -> float | None:
    """Return the timeout that calls are made with, None for no limit; raises `ValueError`."""
    if seconds is None:
        return None
    if not seconds > 0:  # which NaN is not either
        raise ValueError(f"a timeout is a number of seconds above 0, or None for no limit, and not {seconds}")
    return min(seconds, LONGEST_TIMEOUT)
