"""Options that every channel to a studio uses."""

import json

OPTIONS: tuple[tuple[str, int | str], ...] = (
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
