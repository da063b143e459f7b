"""The command line: who calls, and the list of commands."""

import importlib.metadata
from pathlib import Path
from typing import Annotated

import typer

from atelier_client import Credentials
from atelier_client.cli import keys, models, pictures, render, speech

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


def _version(wanted: bool) -> None:
    if not wanted:
        return
    try:
        typer.echo(f"atelier {importlib.metadata.version('atelier-studio')}")
    except importlib.metadata.PackageNotFoundError:
        typer.echo("atelier, not installed as a package: the version is not known")
    raise typer.Exit


@app.callback()
def identify(
    context: typer.Context,
    *,
    api_key: Annotated[
        str, typer.Option(envvar="ATELIER_API_KEY", help="Key or token; better given in the environment.")
    ] = "",
    tls: Annotated[bool, typer.Option("--tls", envvar="ATELIER_TLS", help="Speak TLS.")] = False,
    tls_ca: Annotated[
        Path | None, typer.Option(envvar="ATELIER_TLS_CA", help="PEM authorities to believe; implies --tls.")
    ] = None,
    cert: Annotated[
        Path | None, typer.Option(envvar="ATELIER_CERT", help="PEM certificate to show; implies --tls.")
    ] = None,
    key: Annotated[Path | None, typer.Option(envvar="ATELIER_CERT_KEY", help="PEM private key of --cert.")] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Pictures and speech from prompts. The options below go before the command."""
    try:
        context.obj = Credentials(api_key, tls, tls_ca, cert, key)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


app.command()(pictures.image)
app.command()(speech.say)
app.command()(pictures.route)
app.command("models")(models.show)
app.command()(speech.voices)
app.command()(speech.create_voice)
app.command()(speech.delete_voice)
app.command()(models.status)


@app.command()
def doctor() -> None:
    """Check this machine: which device would be used and why, which kernels the build has, whether bf16 works."""
    from atelier_client.cli.doctor import examine

    healthy = render.checks(examine())
    raise typer.Exit(code=0 if healthy else 1)


app.add_typer(keys.app, name="key")

_ONE_SERVER = "Models of one imagegen, voice or rewrite_llm server"
app.command(rich_help_panel=_ONE_SERVER)(models.load)
app.command(rich_help_panel=_ONE_SERVER)(models.unload)
app.command(rich_help_panel=_ONE_SERVER)(models.pin)
app.command(rich_help_panel=_ONE_SERVER)(models.unpin)
