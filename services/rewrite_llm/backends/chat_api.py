"""The chat completions of OpenAI's HTTP API, as vLLM, llama.cpp, Ollama and others serve them too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

import httpx2
from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from servekit.errors import BackendUnavailable, EngineFailure, ModelUnavailable, Overloaded

MAX_ANSWER_BYTES = 256 * 1024
"""More than any answer that we ask for; the rest of a longer one is not read."""
_CONNECTIONS = 64
_CONNECT_S, _ANSWER_S = 1.0, 60.0
"""Seconds to connect, and between two pieces of an answer; whoever asks has a shorter limit of his own."""
_RETRY_AFTER_S = 2.0


class _Candidate(BaseModel):
    token: str
    logprob: FiniteFloat


class _Position(_Candidate):
    top_logprobs: tuple[_Candidate, ...] = ()


class _Logprobs(BaseModel):
    content: tuple[_Position, ...] | None = None


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message
    logprobs: _Logprobs | None = None


class _Completion(BaseModel):
    choices: Annotated[tuple[_Choice, ...], Field(min_length=1)]


class _Listed(BaseModel):
    id: str


class _Listing(BaseModel):
    data: tuple[_Listed, ...]


M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model wrote, and the log-probabilities of the likeliest first tokens; none if they were not given."""

    text: str
    first: Mapping[str, float]


class ChatApi:
    """A model behind an endpoint.

    Every method raises a `ServingError` that names the endpoint and neither the key nor anything that was sent:
    `BackendUnavailable` if it cannot be reached or fails, `Overloaded` if it says so, `ModelUnavailable` if it refuses
    the key or does not know the model, `EngineFailure` if its answer is not what the API says.
    """

    def __init__(self, base_url: str, model: str, *, api_key: str | None, extra: Mapping[str, Any]) -> None:
        url = httpx2.URL(base_url)
        self._where = f"{url.scheme}://{url.netloc.decode()}{url.path.rstrip('/')}"  # without a password
        self._model = model
        self._extra = extra
        self._client = httpx2.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx2.Timeout(_ANSWER_S, connect=_CONNECT_S),
            limits=httpx2.Limits(max_connections=_CONNECTIONS),
        )

    async def complete(self, messages: Sequence[Mapping[str, str]], *, max_tokens: int, top_logprobs: int = 0) -> Reply:
        """Continue a conversation by at most `max_tokens` tokens, without chance."""
        body: dict[str, Any] = {"model": self._model, "messages": messages, "max_tokens": max_tokens, "temperature": 0}
        if top_logprobs:
            body |= {"logprobs": True, "top_logprobs": top_logprobs}
        choice = (await self._call("POST", "/chat/completions", _Completion, json={**body, **self._extra})).choices[0]
        positions = choice.logprobs.content if choice.logprobs else None
        return Reply(choice.message.content or "", _first(positions or ()))

    async def models(self) -> list[str]:
        """Return the ids of the models that the endpoint offers."""
        return [each.id for each in (await self._call("GET", "/models", _Listing)).data]

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _call(self, method: str, path: str, kind: type[M], json: Any = None) -> M:
        try:
            async with self._client.stream(method, path, json=json) as response:
                if response.status_code != HTTPStatus.OK:
                    raise self._refused(response)
                return kind.model_validate_json(await self._read(response))
        except httpx2.HTTPError as error:
            why = f"{self._where} cannot be reached ({type(error).__name__})"
            raise BackendUnavailable(why, retry_after_s=_RETRY_AFTER_S) from None
        except ValidationError:
            raise EngineFailure(f"{self._where} did not answer as the API says") from None

    async def _read(self, response: httpx2.Response) -> bytes:
        answer = bytearray()
        async for piece in response.aiter_bytes():
            answer += piece
            if len(answer) > MAX_ANSWER_BYTES:
                raise EngineFailure(f"{self._where} answered more than {MAX_ANSWER_BYTES} bytes")
        return bytes(answer)

    def _refused(self, response: httpx2.Response) -> Exception:
        match response.status_code:
            case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
                return ModelUnavailable(f"{self._where} refuses the key: set ATELIER_REWRITE_OPENAI_API_KEY")
            case HTTPStatus.NOT_FOUND:
                return ModelUnavailable(f"{self._where} does not know the model {self._model}")
            case HTTPStatus.TOO_MANY_REQUESTS:
                return Overloaded(f"{self._where} is overloaded", retry_after_s=_retry_after_s(response))
            case code if code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                return BackendUnavailable(f"{self._where} fails (status {code})", retry_after_s=_RETRY_AFTER_S)
            case code:
                return EngineFailure(f"{self._where} refuses the question (status {code})")


def _first(positions: Sequence[_Position]) -> Mapping[str, float]:
    """Return the log-probabilities of the first token, that which was written among them."""
    if not positions:
        return {}
    first = positions[0]
    return {each.token: each.logprob for each in (first, *first.top_logprobs)}


def _retry_after_s(response: httpx2.Response) -> float:
    """Return the seconds that the server asks for; it may name a date instead, which is not read."""
    wish = response.headers.get("retry-after", "")
    return float(wish) if wish.isdecimal() else _RETRY_AFTER_S
