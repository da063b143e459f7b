"""Keys for callers: made here, given to the caller, and kept by the server as a digest."""

from typing import Annotated

import typer

app = typer.Typer(help="Make keys for those who may call a server.", no_args_is_help=True)


@app.callback()
def keys() -> None:
    """Make keys for those who may call a server."""


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the caller, for the row of the callers file.")] = "somebody",
) -> None:
    """Make a key: it is shown this once. The row goes into the server's callers file."""
    from servekit.keys import new_key

    key, stored = new_key()
    typer.echo(f"key   {key}", err=True)
    typer.echo(f'[[caller]]\nname = "{name}"\nkeys = ["{stored.text}"]\nroles = ["user"]')
