"""The commands: each parses its arguments, calls the client and shows what came back."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from atelier_client import AtelierError, Client, Credentials, ImageResult
from atelier_client._channel import DEFAULT_TARGET
from atelier_client.cli import keys, render
from atelier_client.cli.progress import ImageProgress

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(keys.app, name="key")

Server = Annotated[str, typer.Option("--server", envvar="ATELIER_SERVER", help="Address of a router as host:port.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0.001, help="Seconds the call may take.")]


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
) -> None:
    """Pictures and speech from prompts. The options below go before the command."""
    try:
        context.obj = Credentials(api_key, tls, tls_ca, cert, key)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--cert, --key") from None


@app.command()
def image(
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(help="What to show.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write; picture 2 becomes NAME-2.")] = Path(
        "image.png"
    ),
    model: Annotated[str, typer.Option(help="Model id; empty to let the studio choose.")] = "",
    negative: Annotated[str, typer.Option(help="What to avoid.")] = "",
    size: Annotated[str | None, typer.Option(help="Size as WIDTHxHEIGHT in pixels.")] = None,
    tier: Annotated[str | None, typer.Option(help="fast, standard or best: quality against time.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed; the same seed makes the same picture.")] = None,
    count: Annotated[int | None, typer.Option(help="Number of pictures.")] = None,
    server: Server = DEFAULT_TARGET,
    timeout: Timeout = 600.0,
) -> None:
    """Make a picture and write it to a file. The file's suffix chooses PNG, JPEG or WebP."""
    _check_writable(output)
    width, height = _size(size)
    options = _given(
        model=model,
        negative_prompt=negative,
        width=width,
        height=height,
        tier=tier,
        steps=steps,
        guidance=guidance,
        seed=seed,
        count=count,
        format=_format(output),
    )
    with _connected(context, server, timeout) as client, ImageProgress() as progress:
        result = client.image(prompt, on_event=progress.feed, **options)
    render.image(result, _save_all(result, output))
    if not result.pictures:
        raise typer.Exit(code=2)


@app.command()
def say(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="What to say.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write.")] = Path("speech.wav"),
    voice: Annotated[str, typer.Option(help="Voice id, see `atelier voices`.")] = "",
    language: Annotated[str, typer.Option(help="Language as a BCP 47 tag, such as en or pt-br.")] = "",
    rate: Annotated[float | None, typer.Option(help="Speed factor, 0.5 to 2.")] = None,
    server: Server = DEFAULT_TARGET,
    timeout: Timeout = 600.0,
) -> None:
    """Speak a text into a file. The file's suffix chooses WAV, FLAC, Ogg/Opus or MP3."""
    _check_writable(output)
    options = _given(voice=voice, language=language, rate=rate, format=_format(output))
    with _connected(context, server, timeout) as client:
        result = client.say(text, **options)
    render.speech(result, result.save(output))


@app.command()
def route(
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(help="What to show.")],
    server: Server = DEFAULT_TARGET,
    timeout: Timeout = 30.0,
) -> None:
    """Show which model would make a picture, and why, without making it."""
    with _connected(context, server, timeout) as client:
        render.route(client.route(prompt))


@app.command()
def models(context: typer.Context, server: Server = DEFAULT_TARGET, timeout: Timeout = 30.0) -> None:
    """List the models of all servers, and where their weights are."""
    with _connected(context, server, timeout) as client:
        render.models(client.backends())


@app.command()
def voices(
    context: typer.Context,
    language: Annotated[str, typer.Option(help="Only voices of this language.")] = "",
    server: Server = DEFAULT_TARGET,
    timeout: Timeout = 30.0,
) -> None:
    """List the voices."""
    with _connected(context, server, timeout) as client:
        render.voices(client.voices(language=language))


@app.command()
def create_voice(
    context: typer.Context,
    voice: Annotated[str, typer.Argument(help="Id to give it: a-z, 0-9, _ and -.")],
    clip: Annotated[Path, typer.Argument(help="Recording of 3 to 30 s: WAV, FLAC, Ogg or MP3.", exists=True)],
    consent: Annotated[bool, typer.Option("--consent", help="The speaker consents to the cloning.")] = False,
    name: Annotated[str, typer.Option(help="Name for people.")] = "",
    model: Annotated[str, typer.Option(help="Model to clone with; empty for the first that can.")] = "",
    language: Annotated[list[str] | None, typer.Option(help="Language it speaks; may be given several times.")] = None,
    shared: Annotated[bool, typer.Option("--shared", help="Let all callers use it.")] = False,
    server: Server = DEFAULT_TARGET,
    timeout: Timeout = 600.0,
) -> None:
    """Make a voice from a recording."""
    options = _given(display_name=name, model=model, languages=language, consent=consent, shared=shared)
    with _connected(context, server, timeout) as client:
        render.voices([client.create_voice(voice, clip, **options)])


@app.command()
def delete_voice(
    context: typer.Context,
    voice: Annotated[str, typer.Argument(help="Id of a voice made by `atelier create-voice`.")],
    server: Server = DEFAULT_TARGET,
    timeout: Timeout = 30.0,
) -> None:
    """Delete a voice that was made from a recording."""
    with _connected(context, server, timeout) as client:
        client.delete_voice(voice)


@app.command()
def status(context: typer.Context, server: Server = DEFAULT_TARGET, timeout: Timeout = 30.0) -> None:
    """Show the servers behind the router: health, device, memory, queue."""
    with _connected(context, server, timeout) as client:
        render.status(client.backends())


@app.command()
def doctor() -> None:
    """Check this machine: which device would be used and why, which kernels the build has, whether bf16 works."""
    from atelier_client.cli.doctor import examine

    healthy = render.checks(examine())
    raise typer.Exit(code=0 if healthy else 1)


@contextmanager
def _connected(context: typer.Context, server: str, timeout: float) -> Iterator[Client]:
    try:
        with _client(server, timeout, context.obj) as client:
            yield client
    except AtelierError as error:
        render.error(error)
        raise typer.Exit(code=1) from None


def _client(server: str, timeout: float, credentials: Credentials) -> Client:
    try:
        return Client(server, timeout=timeout, credentials=credentials)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error), param_hint="--api-key, --tls, --tls-ca, --cert, --key") from None


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value not in (None, "")}


def _size(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise typer.BadParameter(f"{text!r} is not WIDTHxHEIGHT, for instance 768x512", param_hint="--size")
    return int(width), int(height)


def _format(path: Path) -> str:
    names = {"jpg": "jpeg", "opus": "ogg_opus", "ogg": "ogg_opus"}
    suffix = path.suffix.removeprefix(".").lower()
    return names.get(suffix, suffix)


def _check_writable(output: Path) -> None:
    """Make the file's folder, so that what cannot be written is told before the work is done and not after."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(f"{output.parent}: {error.strerror}", param_hint="--output") from None
    if output.is_dir() or not os.access(output if output.exists() else output.parent, os.W_OK):
        raise typer.BadParameter(f"{output} cannot be written; name a file in a folder of yours", param_hint="--output")


def _save_all(result: ImageResult, output: Path) -> list[Path]:
    paths = [output, *(output.with_stem(f"{output.stem}-{n}") for n in range(2, len(result.pictures) + 1))]
    return [picture.save(path) for picture, path in zip(result.pictures, paths, strict=False)]
