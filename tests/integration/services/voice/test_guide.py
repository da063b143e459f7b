"""The engine that `docs/adding/speech-engine.md` writes, and its row, speak on a real server."""

import re
from pathlib import Path

import pytest

from atelier.voice.v1.voice_service_pb2_grpc import VoiceServiceStub
from servekit.testing import local, serve
from services.voice import engines
from services.voice.bootstrap import build
from services.voice.settings import VoiceSettings
from tests.integration.services.voice.client import heard, request

PAGE = Path(__file__).parents[4] / "docs" / "adding" / "speech-engine.md"
UNITS = 3 * 2 + 2 + 3 * 4 + 2 + 3 * 2 + 2
"""Of `... --- ...`: a dot takes two, a dash four, the end of a letter two."""


async def test_the_engine_of_the_guide_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, row = (re.search(rf"(?ms)^```{each}\n(.*?)^```$", PAGE.read_text()) for each in ("python", "toml"))
    assert code is not None and row is not None
    package = tmp_path / "engines" / "morse"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('"""Morse code."""\n')
    (package / "engine.py").write_text(code[1])
    (tmp_path / "voices.toml").write_text(row[1])
    monkeypatch.setattr(engines, "__path__", [*engines.__path__, str(package.parent)])
    settings = local(VoiceSettings, voices_dir=tmp_path / "voices", catalog_file=tmp_path / "voices.toml")
    async with serve(build(settings)) as channel:
        spoken = await heard(VoiceServiceStub(channel).Synthesize(request("sos", voice="morse/key")))

    assert spoken.summary.model == "morse"
    assert spoken.summary.audio_seconds == pytest.approx(UNITS * 0.06)
    assert abs(spoken.samples()).max() == pytest.approx(0.5, abs=0.01)
