"""Asks a server how it is: `python -m servekit.healthcheck 127.0.0.1:50051`, for containers and scripts.

Ends with 0 if it serves, with 1 and a line that says why if it does not. Without an address it asks the one in the
environment variable `ATELIER_HEALTH_ADDRESS`.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

ADDRESS_VARIABLE = "ATELIER_HEALTH_ADDRESS"

_DIRECT = [("grpc.enable_http_proxy", 0)]
"""A proxy of the environment, there for downloads, says nothing about a server."""


def trouble(channel: grpc.Channel, service: str = "", timeout_s: float = 5.0) -> str:
    """Return why `service` is not to be used, empty if it is healthy."""
    try:
        request = health_pb2.HealthCheckRequest(service=service)
        status = health_pb2_grpc.HealthStub(channel).Check(request, timeout=timeout_s).status
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details()}"
    serving = status == health_pb2.HealthCheckResponse.SERVING
    return "" if serving else health_pb2.HealthCheckResponse.ServingStatus.Name(status)


def open_channel(options: argparse.Namespace) -> grpc.Channel:
    """Return a channel to the address, with TLS if an authority was named.

    Raises `ValueError` for options that need others, and `OSError` if a file cannot be read.
    """
    if (options.cert is None) != (options.key is None):
        raise ValueError("--cert and --key are given together or not at all")  # gRPC would abort the interpreter
    if options.ca is None:
        if options.cert is not None:
            raise ValueError("--cert and --key need --ca, without which there is no TLS")
        return grpc.insecure_channel(options.address, _DIRECT)
    pair = [path.read_bytes() if path else None for path in (options.key, options.cert)]
    credentials = grpc.ssl_channel_credentials(options.ca.read_bytes(), *pair)
    named = [("grpc.ssl_target_name_override", options.name)] if options.name else []
    return grpc.secure_channel(options.address, credentials, [*_DIRECT, *named])


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m servekit.healthcheck", description=__doc__)
    known = os.environ.get(ADDRESS_VARIABLE)
    parser.add_argument("address", nargs="?" if known else None, default=known, help="host:port of the server")
    parser.add_argument("--service", default="", help="full name of a service, or `liveness`; empty for all")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds to wait")
    parser.add_argument("--ca", type=Path, help="PEM authorities of the server; turns TLS on")
    parser.add_argument("--cert", type=Path, help="PEM certificate to show the server")
    parser.add_argument("--key", type=Path, help="PEM key of that certificate")
    parser.add_argument("--name", default="", help="name in the server's certificate, if not the one of the address")
    return parser.parse_args(arguments)


def _ask(options: argparse.Namespace) -> str:
    """Return why the server, or the command line, is not to be used, empty if all is well."""
    try:
        channel = open_channel(options)
    except (OSError, ValueError) as error:
        return str(error)
    with channel:
        return trouble(channel, options.service, options.timeout)


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask once and return the exit code."""
    options = parse(arguments)
    why = _ask(options)
    if why:
        print(f"{options.address} {options.service or 'server'}: {why}", file=sys.stderr)
    return 1 if why else 0


if __name__ == "__main__":
    sys.exit(main())
