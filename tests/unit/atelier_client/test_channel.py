import pytest

from atelier_client._channel import options


@pytest.mark.parametrize("target", ["127.0.0.1:50051", "studio.example:443"])
def test_a_server_that_came_back_is_found_within_seconds(target: str) -> None:
    assert dict(options(target))["grpc.max_reconnect_backoff_ms"] == 5_000


@pytest.mark.parametrize(
    ("target", "proxied"),
    [("127.0.0.1:50051", False), ("[::1]:50051", False), ("dns:///localhost:1", False), ("studio.example:443", True)],
)
def test_only_another_machine_is_reached_through_a_proxy(target: str, proxied: bool) -> None:
    assert dict(options(target)).get("grpc.enable_http_proxy", 1) == proxied
