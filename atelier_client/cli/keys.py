"""Keys for callers: made here, given to the caller, and kept by the server as a digest."""

import re
from typing import Annotated

import typer

app = typer.Typer(help="Make keys for those who may call a server.", no_args_is_help=True)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a callers file takes as a name. Nothing in it has to be escaped in TOML."""


@app.callback()
def keys() -> None:
    """Make keys for those who may call a server."""


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise typer.BadParameter(
            f"{name!r} is not 1 to 64 of the characters A-Z, a-z, 0-9, '.', '_' and '-', the first a letter or digit"
        )
    return name


@app.command()
def new(
    name: Annotated[
        str, typer.Argument(help="Name of the caller, for the row of the callers file.", callback=_checked)
    ] = "somebody",
) -> None:
    """Make a key: it is shown this once. The row goes into the server's callers file."""
    from servekit.keys import new_key

    key, stored = new_key()
    typer.echo(f"key   {key}", err=True)
    typer.echo(f'[[caller]]\nname = "{name}"\nkeys = ["{stored.text}"]\nroles = ["user"]')
