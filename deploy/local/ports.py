"""Ports for processes of this machine."""

import socket
from contextlib import ExitStack


def unused(count: int) -> list[int]:
    """Return that many different loopback ports that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]
