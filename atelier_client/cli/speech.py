"""The commands that speak, and those for voices."""

from pathlib import Path
from typing import Annotated

import typer

from atelier_client._channel import DEFAULT_TARGET
from atelier_client.cli import files, render
from atelier_client.cli.calls import SPEECH, Server, Timeout, connected, given


def say(
    context: typer.Context,
    text: Annotated[str | None, typer.Argument(help="What to say; - for standard input.")] = None,
    file: Annotated[Path | None, typer.Option(help="UTF-8 file to say instead; - for standard input.")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write, - for standard output.")] = Path(
        "speech.wav"
    ),
    voice: Annotated[str, typer.Option(help="Voice id, see `atelier voices`.")] = "",
    model: Annotated[str, typer.Option(help="Model id; empty for that of the voice.")] = "",
    language: Annotated[str, typer.Option(help="Language as a BCP 47 tag, such as en or pt-br.")] = "",
    rate: Annotated[float | None, typer.Option(help="Speed factor, 0.5 to 2.")] = None,
    pitch: Annotated[float | None, typer.Option(help="Pitch factor, 0.5 to 2.")] = None,
    sample_rate: Annotated[int | None, typer.Option(help="Sample rate in hertz, 8000 to 48000.")] = None,
    ssml: Annotated[bool, typer.Option("--ssml", help="The text is SSML.")] = False,
    server: Server = DEFAULT_TARGET,
    timeout: Timeout = 600.0,
) -> None:
    """Speak a text into a file. The file's suffix chooses WAV, FLAC, Ogg/Opus or MP3."""
    words = _words(text, file)
    files.check_output(output)
    options = given(
        voice=voice,
        model=model,
        language=language,
        rate=rate,
        pitch=pitch,
        sample_rate=sample_rate,
        ssml=ssml or None,
        format=files.suffix_format(output),
    )
    with connected(context, server, timeout, SPEECH) as client:
        result = client.say(words, **options)
    render.speech(result, files.write(output, result.file()), files.console(output))


def voices(
    context: typer.Context,
    language: Annotated[str, typer.Option(help="Only voices of this language.")] = "",
    server: Server = DEFAULT_TARGET,
    timeout: Timeout = 30.0,
) -> None:
    """List the voices."""
    with connected(context, server, timeout, SPEECH) as client:
        render.voices(client.voices(language=language))


def create_voice(
    context: typer.Context,
    voice: Annotated[str, typer.Argument(help="Id to give it: a-z, 0-9, _ and -.")],
    clip: Annotated[
        Path, typer.Argument(help="Recording of 3 to 30 s: WAV, FLAC, Ogg or MP3.", exists=True, dir_okay=False)
    ],
    consent: Annotated[bool, typer.Option("--consent", help="The speaker consents to the cloning.")] = False,
    name: Annotated[str, typer.Option(help="Name for people.")] = "",
    model: Annotated[str, typer.Option(help="Model to clone with; empty for the first that can.")] = "",
    language: Annotated[list[str] | None, typer.Option(help="Language it speaks; may be given several times.")] = None,
    shared: Annotated[bool, typer.Option("--shared", help="Let all callers use it.")] = False,
    server: Server = DEFAULT_TARGET,
    timeout: Timeout = 600.0,
) -> None:
    """Make a voice from a recording."""
    options = given(display_name=name, model=model, languages=language, consent=consent, shared=shared)
    recording = files.read(clip, "CLIP") or b""
    with connected(context, server, timeout, SPEECH) as client:
        render.voices([client.create_voice(voice, recording, **options)])


def delete_voice(
    context: typer.Context,
    voice: Annotated[str, typer.Argument(help="Id of a voice made by `atelier create-voice`.")],
    server: Server = DEFAULT_TARGET,
    timeout: Timeout = 30.0,
) -> None:
    """Delete a voice that was made from a recording."""
    with connected(context, server, timeout, SPEECH) as client:
        client.delete_voice(voice)


def _words(text: str | None, file: Path | None) -> str:
    if (text is None) == (file is None):
        raise typer.BadParameter("give a text, or - to read it from standard input, or --file", param_hint="TEXT")
    if file is not None:
        return files.read_text(file)
    return files.read_text(files.STANDARD) if text == "-" else text or ""
