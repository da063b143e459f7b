"""A language model behind a real HTTP server, asked as the one in this process is."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from transformers import AutoModelForCausalLM, AutoTokenizer

from servekit.errors import BackendUnavailable, EngineFailure, ModelUnavailable, Overloaded, ServingError
from services.rewrite_llm.backends.chat_api import MAX_ANSWER_BYTES, ChatApi
from services.rewrite_llm.backends.remote import RemoteModel
from services.rewrite_llm.domain import Candidate
from services.rewrite_llm.engines.causal_lm import CausalLmEngine
from services.rewrite_llm.metrics import RewriteMetrics
from services.rewrite_llm.select import softmax
from tests.contract.services.rewrite_llm.openai_server import KEY, MODEL, LanguageModel, Manners, serving

CANDIDATES = (
    Candidate("realvis_xl", "Photorealistic portraits and people.", ("portrait",)),
    Candidate("flux_dev", "General purpose: stylised art, landscapes.", ("general", "landscape")),
    Candidate("logo_sdxl", "Logos, emblems and lettering.", ("logo",)),
)
TEXTS = ["a lake at dawn", "portrait of an old sailor", "emblem for a rowing club"]


@pytest.fixture(scope="module")
def parts(one_thread: None) -> tuple[Any, Any]:
    folder = Path("models/sketch-qwen")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").train(False)
    return model, AutoTokenizer.from_pretrained(folder)


@pytest.fixture
def manners() -> Manners:
    return Manners()


@pytest.fixture
def address(parts: tuple[Any, Any], manners: Manners) -> Iterator[str]:
    with serving(LanguageModel(*parts), manners) as url:
        yield url


def remote(address: str, *, key: str = KEY, model: str = MODEL, **extra: Any) -> RemoteModel:
    api = ChatApi(address, model, api_key=key, extra=extra)
    return RemoteModel("remote", api, RewriteMetrics(CollectorRegistry()))


@pytest.fixture
async def model(address: str) -> AsyncIterator[RemoteModel]:
    found = remote(address)
    yield found
    await found.close()


async def test_it_chooses_as_the_same_weights_do_in_this_process(model: RemoteModel, parts: tuple[Any, Any]) -> None:
    here = CausalLmEngine(*parts).choose(CANDIDATES, TEXTS)
    there = [await model.choose(CANDIDATES, text) for text in TEXTS]
    for near, far in zip(here, there, strict=True):
        assert softmax(far) == pytest.approx(softmax(near), abs=0.02)
    assert model.caveat == ""


async def test_it_screens_as_the_same_weights_do_in_this_process(model: RemoteModel, parts: tuple[Any, Any]) -> None:
    texts = ["a lake at dawn", "a naked woman on a beach"]
    here = CausalLmEngine(*parts).unsafe(texts)
    assert [await model.unsafe(text) for text in texts] == pytest.approx(here, abs=0.02)


async def test_it_rewords_in_one_line_and_no_longer_than_allowed(model: RemoteModel) -> None:
    wording = await model.reword("a nude woman\non a beach", ["sexual"], 40)
    assert 0 < len(wording) <= 40
    assert "\n" not in wording


async def test_the_order_of_the_candidates_decides_nothing(model: RemoteModel) -> None:
    straight = await model.choose(CANDIDATES, TEXTS[0])
    assert (await model.choose(CANDIDATES[::-1], TEXTS[0]))[::-1] == straight


async def test_many_are_asked_at_once(model: RemoteModel) -> None:
    alone = [await model.choose(CANDIDATES, text) for text in TEXTS]
    assert await asyncio.gather(*(model.choose(CANDIDATES, text) for text in TEXTS)) == alone


async def test_without_log_probabilities_the_answer_is_a_vote(model: RemoteModel, manners: Manners) -> None:
    scores = [await model.choose(CANDIDATES, text) for text in TEXTS]
    manners.logprobs = False
    votes = [await model.choose(CANDIDATES, text) for text in TEXTS]
    assert [each.index(max(each)) for each in votes] == [each.index(max(each)) for each in scores]
    assert all(max(softmax(each)) > 0.9 for each in votes)
    assert "vote" in model.caveat


async def test_fields_of_ones_own_are_sent_along(address: str, manners: Manners) -> None:
    found = remote(address, chat_template_kwargs={"enable_thinking": False})
    await found.unsafe("a lake")
    await found.close()
    assert manners.requests[0]["chat_template_kwargs"] == {"enable_thinking": False}


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (Manners(status=429, headers={"retry-after": "7"}), Overloaded),
        (Manners(status=429, headers={"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}), Overloaded),
        (Manners(status=500), BackendUnavailable),
        (Manners(status=400), EngineFailure),
        (Manners(status=302, headers={"location": "/elsewhere"}), EngineFailure),
        (Manners(body=b"<html>hello</html>"), EngineFailure),
        (Manners(body=b"\xff\xfe"), EngineFailure),
        (Manners(body=b"[]"), EngineFailure),
        (Manners(body=b'{"choices": []}'), EngineFailure),
        (Manners(body=b'{"choices": [{"message": {"content": "I would rather not"}}]}'), EngineFailure),
        (Manners(body=b'{"choices": [{"message": {"content": null}}]}'), EngineFailure),
        (Manners(body=b" " * (MAX_ANSWER_BYTES + 1)), EngineFailure),
        (
            Manners(
                body=b'{"choices": [{"message": {"content": "A"}, "logprobs": {"content": [{"token": "A", '
                b'"logprob": NaN}]}}]}'
            ),
            EngineFailure,
        ),
    ],
    ids=lambda value: f"{value.status} {value.body!r:.30}" if isinstance(value, Manners) else "",
)
async def test_what_goes_wrong_is_told_by_type_and_never_repeats_what_was_sent(
    parts: tuple[Any, Any], wrong: Manners, error: type[ServingError]
) -> None:
    with serving(LanguageModel(*parts), wrong) as url:
        found = remote(url)
        with pytest.raises(error) as caught:
            await found.choose(CANDIDATES, "a purple elephant")
        await found.close()
    assert "127.0.0.1" in caught.value.message or error is EngineFailure
    assert not any(word in str(caught.value) for word in (KEY, "elephant"))
    if wrong.headers.get("retry-after") == "7":
        assert caught.value.retry_after_s == 7.0


@pytest.mark.parametrize("wrong", [{"key": "wrong"}, {"model": "gpt-none"}])
async def test_a_refused_key_and_an_unknown_model_say_what_to_do(address: str, wrong: dict[str, str]) -> None:
    found = remote(address, **wrong)
    with pytest.raises(ModelUnavailable, match=r"OPENAI_API_KEY|gpt-none"):
        await found.unsafe("a lake")
    await found.close()


async def test_a_server_that_is_not_there_is_unavailable_at_once(caplog: pytest.LogCaptureFixture) -> None:
    found = remote("http://127.0.0.1:1/v1")
    with pytest.raises(BackendUnavailable, match=r"127\.0\.0\.1:1"):
        await found.unsafe("a lake")
    await found.load()
    assert "rules answer instead" in caplog.text
    await found.close()


async def test_a_question_that_is_given_up_leaves_nothing_behind(model: RemoteModel, manners: Manners) -> None:
    manners.stall = Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await model.unsafe("a lake")
    manners.stall.set()
    manners.stall = None
    assert 0 <= await model.unsafe("a lake") <= 1
