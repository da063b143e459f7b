"""The commands about servers and their models."""

from typing import Annotated

import typer

from atelier_client._channel import DEFAULT_TARGET
from atelier_client.cli import render
from atelier_client.cli.calls import MODELS, ROUTER, Server, Timeout, connected
from atelier_client.cli.progress import LoadingProgress

Owner = Annotated[
    str,
    typer.Option(
        "--server",
        envvar="ATELIER_SERVER",
        help="Address of the server that has the model, see `atelier status`; a router moves no models.",
    ),
]
IMAGEGEN = "127.0.0.1:50052"
"""Where `make run` puts imagegen."""
Model = Annotated[str, typer.Argument(help="Model id, see `atelier models`.")]


def show(context: typer.Context, server: Server = DEFAULT_TARGET, timeout: Timeout = 30.0) -> None:
    """List the models of all servers, and where their weights are."""
    with connected(context, server, timeout, ROUTER) as client:
        render.models(client.backends())


def status(context: typer.Context, server: Server = DEFAULT_TARGET, timeout: Timeout = 30.0) -> None:
    """Show the servers behind the router: health, device, memory, queue."""
    with connected(context, server, timeout, ROUTER) as client:
        render.status(client.backends())


def load(
    context: typer.Context,
    model: Model,
    pinned: Annotated[bool, typer.Option("--pin", help="Pin it once it is loaded.")] = False,
    server: Owner = IMAGEGEN,
    timeout: Timeout = 600.0,
) -> None:
    """Load a model onto the device of its server."""
    with connected(context, server, timeout, MODELS) as client, LoadingProgress() as progress:
        loaded = client.load_model(model, pin=pinned, on_loading=progress.feed)
    render.model(loaded)


def unload(context: typer.Context, model: Model, server: Owner = IMAGEGEN, timeout: Timeout = 30.0) -> None:
    """Free the memory of a model that is neither pinned nor in use."""
    with connected(context, server, timeout, MODELS) as client:
        render.model(client.unload_model(model))


def pin(context: typer.Context, model: Model, server: Owner = IMAGEGEN, timeout: Timeout = 30.0) -> None:
    """Keep a model from being evicted. Pinning does not load it."""
    with connected(context, server, timeout, MODELS) as client:
        render.model(client.pin_model(model))


def unpin(context: typer.Context, model: Model, server: Owner = IMAGEGEN, timeout: Timeout = 30.0) -> None:
    """Let a model be evicted again."""
    with connected(context, server, timeout, MODELS) as client:
        render.model(client.pin_model(model, pinned=False))
