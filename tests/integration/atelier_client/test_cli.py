"""The command line against a real voice server."""

import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile

from atelier_client import AsyncClient, AtelierError
from servekit.testing import local
from services.voice.bootstrap import build
from services.voice.domain import Voice
from services.voice.settings import VoiceSettings
from services.voice.store import DiskVoices
from tests.integration.atelier_client.fake import atelier


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[str]:
    """Return the address of a voice server."""
    async with build(local(VoiceSettings, port=0, voices_dir=tmp_path / "voices")).serving() as address:
        yield address


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
async def test_every_kind_of_file_plays(server: str, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / "not yet there" / f"evening.{suffix}"
    result = await atelier("say", "Good evening.", "-o", str(file), "--server", server)
    assert result.exit_code == 0, result.output
    samples, rate = soundfile.read(file)
    assert 0.3 < len(samples) / rate < 5
    assert abs(samples).max() > 0.05


async def test_lines_stay_whole_where_no_terminal_is(server: str, tmp_path: Path) -> None:
    file = tmp_path / ("long" * 30) / "evening.wav"
    result = await atelier("say", "Good evening.", "-o", str(file), "--server", server)
    assert f"{file} (audio/wav" in result.output


@pytest.mark.parametrize("command", ["image", "say"])
async def test_what_cannot_be_written_is_told_before_any_work(tmp_path: Path, command: str) -> None:
    (tmp_path / "file").write_text("in the way")
    result = await atelier(command, "x", "-o", str(tmp_path / "file" / "x.wav"), "--server", "127.0.0.1:1")
    assert result.exit_code == 2
    assert "--output" in result.output


async def test_a_text_may_come_from_standard_input_or_a_file(server: str, tmp_path: Path) -> None:
    file, said = tmp_path / "text.txt", tmp_path / "said.wav"
    file.write_text("\ufeffOlá.")
    for source in (["-"], ["--file", "-"], ["--file", str(file)]):
        result = await atelier("say", *source, "-o", str(said), "--server", server, stdin="Olá.".encode())
        assert result.exit_code == 0, result.output
        assert soundfile.info(str(said)).frames
        said.unlink()


async def test_a_text_is_given_once_and_can_be_read(tmp_path: Path) -> None:
    for wrong in ([], ["x", "--file", "y"], ["--file", str(tmp_path)], ["-"]):
        result = await atelier("say", *wrong, "-o", str(tmp_path / "x.wav"), stdin=b"\xff")
        assert result.exit_code == 2, wrong


async def test_options_of_speech_reach_the_server(server: str, tmp_path: Path) -> None:
    file = tmp_path / "said.wav"
    options = ["--sample-rate", "16000", "--pitch", "1.2", "--model", "espeak", "--ssml"]
    result = await atelier("say", "<speak>Hello.</speak>", *options, "-o", str(file), "--server", server)
    assert result.exit_code == 0, result.output
    assert soundfile.info(str(file)).samplerate == 16000


async def test_speech_may_go_to_standard_output_and_nothing_else_does(server: str) -> None:
    result = await atelier("say", "Hello.", "-o", "-", "--server", server)
    assert soundfile.info(io.BytesIO(result.stdout_bytes)).format == "WAV"
    assert "first audio" in result.stderr


async def test_a_disk_that_is_full_is_told_in_a_line(server: str) -> None:
    result = await atelier("say", "Hello.", "-o", "/dev/full", "--server", server)
    assert result.exit_code == 1
    assert "error /dev/full cannot be written: No space left on device" in result.stderr


async def test_a_folder_is_no_recording() -> None:
    result = await atelier("create-voice", "me", ".", "--consent")
    assert result.exit_code == 2
    assert "is a directory" in result.stderr


async def test_models_are_moved(server: str) -> None:
    async def told(*arguments: str) -> str:
        return (await atelier(*arguments, "--server", server)).output

    assert "espeak: ready, pinned" in await told("load", "espeak", "--pin")
    assert "it is pinned" in await told("unload", "espeak")
    assert "espeak: ready, " in await told("unpin", "espeak")
    assert "espeak: unloaded" in await told("unload", "espeak")
    assert "espeak: unloaded, pinned" in await told("pin", "espeak")
    assert "no model named" in await told("load", "nothing")


async def test_a_kept_voice_is_deleted(server: str, tmp_path: Path) -> None:
    store = DiskVoices(tmp_path / "voices", most=9)
    anna = Voice("anna", "Anna", "espeak", ("en",), native="key", created=datetime(2026, 1, 1, tzinfo=UTC))
    store.add("", anna, {"x": np.zeros(3, np.float32)}, consent=True)
    assert "anna" in (await atelier("voices", "--language", "en", "--server", server)).output
    result = await atelier("delete-voice", "anna", "--server", server)
    assert result.exit_code == 0, result.output
    assert store.find("", "anna") is None


async def test_a_voice_cannot_be_made_without_consent(server: str, tmp_path: Path) -> None:
    clip = tmp_path / "clip.wav"
    assert (await atelier("say", "Too short.", "-o", str(clip), "--server", server)).exit_code == 0
    result = await atelier("create-voice", "anna", str(clip), "--server", server)
    assert result.exit_code == 1
    assert "config.consent" in result.output
    assert "3 to 30 s" in result.output


async def test_an_unknown_option_of_a_stream_is_told(server: str) -> None:
    async def tokens() -> AsyncIterator[str]:
        yield "Hello."

    async with AsyncClient(server) as client:
        with pytest.raises(AtelierError, match="voise"):
            await anext(aiter(client.speak(tokens(), voise="espeak/en-us")))
