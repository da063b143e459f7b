import hashlib

import pytest

from atelier.imagegen.v1 import imagegen_pb2
from services.imagegen import domain, events
from services.imagegen.responses import to_model, to_responses
from tests.unit.services.imagegen import rows


def test_a_picture_is_a_header_and_its_chunks() -> None:
    data = bytes(range(256)) * 10
    event = events.Picture(2, domain.ImageFormat.PNG, data, 7, 96, 64, domain.Verdict(True, 0.75, 0.5, "falcon"))

    header, *chunks = to_responses(event, 1000)

    assert (header.image.index, header.image.media_type, header.image.seed) == (2, "image/png", 7)
    assert (header.image.sha256, header.image.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    assert (header.image.safety.flagged, header.image.safety.score) == (True, 0.75)
    assert [each.chunk.offset for each in chunks] == [0, 1000, 2000]
    assert b"".join(each.chunk.data for each in chunks) == data


ATTEMPT = domain.Attempt(1, "sketch", 7, domain.Cause.BLACK, domain.Remedy.NEXT_SEED)
ADJUSTMENT = domain.Adjustment("width", "100", "96", "because")


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (events.Queued(1, 2.0), "queued"),
        (events.Loading("sketch", 0.5), "loading"),
        (events.Progress(1, 2, 3.0), "progress"),
        (events.Preview(0, 1, b"x"), "preview"),
        (events.Retry(ATTEMPT, 0, "again"), "retry"),
        (events.RewrittenPrompt("a", "b", "c", True), "rewritten"),
        (events.Blocked(0, domain.Cause.UNSAFE, [ATTEMPT]), "blocked"),
        (events.PlanReady("sketch", 96, 96, 20, 4.0, "", 1, 0.0, True, [ADJUSTMENT]), "plan"),
        (events.Summary("sketch", [7], [ADJUSTMENT], [ATTEMPT], [("load", 1.0)], 2.0, 1, 0, False, 20), "summary"),
    ],
)
def test_each_event_has_its_message(event: events.Event, kind: str) -> None:
    (message,) = to_responses(event, 1000)

    assert message.WhichOneof("event") == kind


def test_an_attempt_keeps_cause_and_remedy() -> None:
    (message,) = to_responses(events.Retry(ATTEMPT, 0, "again"), 1000)

    assert message.retry.attempt.cause == imagegen_pb2.CAUSE_BLACK
    assert message.retry.attempt.remedy == imagegen_pb2.REMEDY_NEXT_SEED


@pytest.mark.parametrize("cause", list(domain.Cause))
@pytest.mark.parametrize("remedy", [None, *domain.Remedy])
def test_every_cause_and_remedy_has_a_number(cause: domain.Cause, remedy: domain.Remedy | None) -> None:
    (message,) = to_responses(events.Retry(domain.Attempt(1, "m", 1, cause, remedy), 0, ""), 1000)

    assert message.retry.attempt.cause != imagegen_pb2.CAUSE_UNSPECIFIED
    assert (message.retry.attempt.remedy == imagegen_pb2.REMEDY_UNSPECIFIED) is (remedy is None)


def test_a_catalog_row_is_listed_with_its_defaults() -> None:
    model = to_model(rows.row(rows.FLUX))

    assert dict(model.defaults) == {
        "steps": "3",
        "guidance": "4",
        "width": "32",
        "height": "32",
        "scheduler": "flow_euler",
    }
    assert (model.id, model.family, model.source) == ("tiny_flux", "flux", "tiny_flux")
