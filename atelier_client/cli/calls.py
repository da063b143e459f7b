"""What every command that calls a server has in common."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from atelier_client import AtelierError, Client, Credentials
from atelier_client.cli import render

Server = Annotated[str, typer.Option("--server", envvar="ATELIER_SERVER", help="Address of a router as host:port.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0.001, help="Seconds the call may take.")]

ROUTER = "a router"
PICTURES = "a router or an imagegen server"
SPEECH = "a router or a voice server"
MODELS = "an imagegen, voice or rewrite_llm server, whose address `atelier status` shows,"


@contextmanager
def connected(context: typer.Context, server: str, timeout: float, needs: str) -> Iterator[Client]:
    """Connect to a server, which has to be what the command `needs`.

    Raises:
        typer.BadParameter: nothing can be called with these options.
        typer.Exit: a call failed, which was told.
    """
    try:
        with _client(server, timeout, context.obj) as client:
            yield client
    except AtelierError as error:
        if error.code == "UNIMPLEMENTED" and not error.reason:
            render.complain(f"{server} does not serve this command: name {needs} with --server")
        else:
            render.error(error)
        raise typer.Exit(code=1) from None


def given(**options: Any) -> dict[str, Any]:
    """Return the options that were given."""
    return {name: value for name, value in options.items() if value not in (None, "", [])}


def _client(server: str, timeout: float, credentials: Credentials) -> Client:
    try:
        return Client(server, timeout=timeout, credentials=credentials)
    except UnicodeEncodeError:
        raise typer.BadParameter(f"{server!r} is no host:port", param_hint="--server") from None
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
