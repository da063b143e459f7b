from typing import Any

import pytest

from atelier.common.v1 import decision_pb2, types_pb2
from atelier.imagegen.v1 import image_service_pb2, imagegen_pb2
from servekit.errors import InvalidRequest
from services.router import convert
from services.router.domain import Choice, Decision, Judgement, Rewriting, Score, Screening, Source, Verdict

GenerateRequest = image_service_pb2.GenerateRequest
Event = image_service_pb2.GenerateResponse
SOURCE = imagegen_pb2.SourceImage(data=b"png")


def decided(*, complete: bool = True) -> Decision:
    scores = (Score("a", 0.9, 0.9, 1.0), Score("b", 0.1, 0.1, 0.25))
    choice = Choice("a", scores, Source.LLM, "it suits", degraded="slow")
    return Decision(choice, "imagegen-1", Judgement(Screening(Verdict.ALLOW, Source.RULES, complete=complete)), 0.25)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": " \n\t"}, "prompt"),
        ({"prompt": "x" * 4001}, "prompt"),
        ({"prompt": "a\0b"}, "prompt"),
        ({"negative_prompt": "x" * 4001}, "negative_prompt"),
        ({"negative_prompt": "\x1b[2J"}, "negative_prompt"),
        ({"width": 0}, "width"),
        ({"height": 4097}, "height"),
        ({"steps": -1}, "steps"),
        ({"guidance": float("nan")}, "guidance"),
        ({"guidance": float("inf")}, "guidance"),
        ({"seed": -1}, "seed"),
        ({"count": 0}, "count"),
        ({"quality": 101}, "quality"),
        ({"preview_every": -1}, "preview_every"),
        ({"format": 99}, "format"),
        ({"priority": 99}, "priority"),
        ({"safety": 99}, "safety"),
        ({"adapters": [imagegen_pb2.Adapter(id="x")] * 5}, "adapters"),
        ({"adapters": [imagegen_pb2.Adapter()]}, "adapters[0].id"),
        ({"adapters": [imagegen_pb2.Adapter(id="x", weight=3)]}, "adapters[0].weight"),
        ({"source": imagegen_pb2.SourceImage()}, "source.data"),
        ({"source": imagegen_pb2.SourceImage(data=b"png", strength=0)}, "source.strength"),
    ],
)
def test_what_breaks_the_contract_is_named(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        convert.ask(GenerateRequest(**{"prompt": "a house", **fields}))

    assert [violation.field for violation in caught.value.violations] == [field]


def test_every_violation_is_named_with_its_path() -> None:
    with pytest.raises(InvalidRequest) as caught:
        convert.ask(GenerateRequest(width=1, steps=900), at="request.")

    fields = [violation.field for violation in caught.value.violations]
    assert fields == ["request.prompt", "request.width", "request.steps"]


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "x" * 4000},
        {"prompt": "two\nlines\tand a tab"},
        {"width": 16, "height": 4096, "steps": 200, "guidance": 0.0, "seed": 2**63 - 1, "count": 10_000},
        {"source": imagegen_pb2.SourceImage(data=b"png", strength=1.0)},
    ],
)
def test_what_the_contract_allows_passes(fields: dict[str, Any]) -> None:
    assert convert.ask(GenerateRequest(**{"prompt": "a house", **fields})).prompt


@pytest.mark.parametrize(
    ("fields", "required"),
    [
        ({}, {"text_to_image"}),
        ({"source": SOURCE}, {"image_to_image"}),
        ({"source": imagegen_pb2.SourceImage(data=b"png", mask=b"png")}, {"inpainting"}),
        ({"adapters": [imagegen_pb2.Adapter(id="x")]}, {"text_to_image", "adapters"}),
    ],
)
def test_required_capabilities_follow_from_the_request(fields: dict[str, Any], required: set[str]) -> None:
    assert convert.ask(GenerateRequest(prompt="a house", **fields)).required == required


def test_a_negative_prompt_is_a_wish() -> None:
    assert convert.ask(GenerateRequest(prompt="a house", negative_prompt="rain")).wished == {"negative_prompt"}


def test_the_forwarded_request_names_model_and_prompt_and_keeps_the_rest() -> None:
    request = GenerateRequest(prompt="blood", allowed_models=["a", "b"], seed=7, source=SOURCE)

    onward = convert.forwarded(request, decided(), "roses")

    assert onward == GenerateRequest(prompt="roses", model="a", seed=7, source=SOURCE)
    assert request.prompt == "blood"


@pytest.mark.parametrize(
    ("complete", "safety"),
    [(True, imagegen_pb2.SAFETY_POLICY_IGNORE), (False, imagegen_pb2.SAFETY_POLICY_BLOCK)],
)
def test_an_unscreened_prompt_keeps_the_check_of_the_picture(complete: bool, safety: int) -> None:
    request = GenerateRequest(prompt="a house", safety=imagegen_pb2.SAFETY_POLICY_IGNORE)

    assert convert.forwarded(request, decided(complete=complete), "a house").safety == safety


def test_the_decision_is_told_in_full() -> None:
    routed = convert.routed(decided())

    assert (routed.model, routed.backend, routed.source) == ("a", "imagegen-1", decision_pb2.SOURCE_LLM)
    assert [(score.model, score.readiness) for score in routed.scores] == [("a", 1.0), ("b", 0.25)]
    assert routed.margin == pytest.approx(0.8)
    assert (routed.reason, routed.degraded, routed.seconds) == ("it suits", "slow", 0.25)


def test_the_rewriting_shows_both_prompts() -> None:
    rewritten = convert.rewritten(Rewriting("blood", "roses", Source.RULES_AND_LLM, reason="gore"))

    assert (rewritten.original, rewritten.prompt) == ("blood", "roses")
    assert rewritten.source == decision_pb2.SOURCE_RULES_AND_LLM


EVENTS = Event.DESCRIPTOR.oneofs_by_name["event"].fields


@pytest.mark.parametrize("name", [field.name for field in EVENTS])
def test_an_event_is_known_by_its_encoding(name: str) -> None:
    event = Event()
    getattr(event, name).SetInParent()

    assert convert.kind(event.SerializeToString()) == name


def test_a_response_is_nothing_but_its_event() -> None:
    assert {field.name for field in Event.DESCRIPTOR.fields} == {field.name for field in EVENTS}


@pytest.mark.parametrize("encoded", [b"", b"\xf2\x07\x00"])
def test_an_event_that_nobody_knows_has_no_kind(encoded: bytes) -> None:
    assert convert.kind(encoded) == ""


def test_the_routers_part_comes_first_in_the_summary() -> None:
    told = image_service_pb2.Summary(model="a", attempts=[imagegen_pb2.Attempt(number=2)], total_seconds=1.0)
    told.stages.add(stage="denoise", seconds=1.0)
    encoded = Event(summary=told).SerializeToString()

    completed = convert.completed(encoded, {"select": 0.5, "rewrite": 0.0}, [convert.lost_attempt("a", 1, 5)], 2.0)

    summary = Event.FromString(completed).summary
    assert [stage.stage for stage in summary.stages] == ["select", "denoise"]
    assert [attempt.cause for attempt in summary.attempts] == [imagegen_pb2.CAUSE_BACKEND_LOST, 0]
    assert (summary.model, summary.total_seconds) == ("a", 2.0)


@pytest.mark.parametrize(
    "event",
    [
        Event(retry=image_service_pb2.Retry(attempt=imagegen_pb2.Attempt(number=1))),
        Event(blocked=image_service_pb2.Blocked(attempts=[imagegen_pb2.Attempt(number=1)])),
        Event(summary=image_service_pb2.Summary(attempts=[imagegen_pb2.Attempt(number=1)])),
    ],
)
def test_attempts_after_a_loss_count_on(event: image_service_pb2.GenerateResponse) -> None:
    counted = Event.FromString(convert.renumbered(event.SerializeToString(), 2))

    assert counted.WhichOneof("event") == event.WhichOneof("event")
    attempts = (counted.retry.attempt, *counted.blocked.attempts, *counted.summary.attempts)
    assert [attempt.number for attempt in attempts if attempt.number] == [3]


def test_counting_on_leaves_other_events_alone() -> None:
    encoded = Event(chunk=types_pb2.Chunk(data=b"x")).SerializeToString()

    assert convert.renumbered(encoded, 2) is encoded


@pytest.mark.parametrize(("ours", "wire"), [(Source, decision_pb2.Source), (Verdict, decision_pb2.Verdict)])
def test_the_numbers_are_those_of_the_wire(ours: Any, wire: Any) -> None:
    names = {member.name: member.value for member in ours}
    prefix = wire.DESCRIPTOR.name.upper()

    assert names == {name.removeprefix(f"{prefix}_"): number for name, number in wire.items() if number}
