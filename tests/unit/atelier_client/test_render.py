import io

import pytest
from rich.console import Console

from atelier.common.v1 import decision_pb2, types_pb2
from atelier.rewrite.v1 import rewrite_service_pb2
from atelier.router.v1 import router_service_pb2
from atelier.voice.v1 import voice_service_pb2
from atelier_client import SpeechResult
from atelier_client.cli import files, render


def test_what_speech_was_changed_to_is_shown() -> None:
    change = types_pb2.Adjustment(field="pitch", requested="1.5", used="1", reason="[x] has one pitch")
    summary = voice_service_pb2.SpeechSummary(voice="xtts/ana", adjustments=[change])
    shown = io.StringIO()
    render.speech(
        SpeechResult(voice_service_pb2.AudioHeader(), b"", [], summary), files.STANDARD, Console(file=shown, width=200)
    )
    assert "adjusted    pitch: 1.5 -> 1 ([x] has one pitch)" in shown.getvalue()


def test_names_and_addresses_are_shown_as_they_are() -> None:
    with render.OUT.capture() as shown:
        render.status([router_service_pb2.Backend(service="imagegen", name="imagegen-0", address="[fd00::5]:50052")])
        render.OUT.print("saved :100:.png")

    assert "imagegen-0 at [fd00::5]:50052: " in shown.get()
    assert ":100:.png" in shown.get()


def test_a_dry_run_without_a_plan_says_what_that_means(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(render, "OUT", Console(file=shown, width=200))
    screening = rewrite_service_pb2.ScreenPromptResponse(verdict=decision_pb2.VERDICT_REWRITE)

    render.route(router_service_pb2.RouteResponse(screening=screening))

    assert "plan        none, the prompt would be refused" in shown.getvalue()
