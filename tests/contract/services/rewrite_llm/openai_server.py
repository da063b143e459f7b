"""An HTTP server that speaks OpenAI's chat completions and runs a real model behind them.

What the fields mean is in OpenAI's API reference; like the servers that people run, it renders the model's own chat
template, decodes greedily, and gives log-probabilities only if it is asked for them.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any

import torch

KEY = "a-secret"
MODEL = "sketch-qwen"


class LanguageModel:
    """Greedy decoding with log-probabilities, over a causal language model of transformers."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._turns = Lock()

    @torch.inference_mode()
    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the completion that a request asks for."""
        text = self._tokenizer.apply_chat_template(body["messages"], tokenize=False, add_generation_prompt=True)
        ids = torch.tensor([self._tokenizer.encode(text, add_special_tokens=False)])
        written: list[int] = []
        positions = []
        with self._turns:
            while len(written) < body["max_tokens"] and ids.shape[1] < self._model.config.max_position_embeddings:
                scores = torch.log_softmax(self._model(ids).logits[0, -1].float(), dim=-1)
                token = int(scores.argmax())
                if token == self._tokenizer.eos_token_id:
                    break
                written.append(token)
                positions.append(self._position(scores, token, body.get("top_logprobs", 0)))
                ids = torch.cat([ids, torch.tensor([[token]])], dim=1)
        message = {"role": "assistant", "content": self._tokenizer.decode(written)}
        logprobs = {"content": positions} if body.get("logprobs") else None
        return {"object": "chat.completion", "choices": [{"index": 0, "message": message, "logprobs": logprobs}]}

    def _position(self, scores: torch.Tensor, token: int, top: int) -> dict[str, Any]:
        best = torch.topk(scores, top) if top else None
        listed = zip(best.values.tolist(), best.indices.tolist(), strict=True) if best else ()
        return self._scored(float(scores[token]), token) | {"top_logprobs": [self._scored(*each) for each in listed]}

    def _scored(self, logprob: float, token: int) -> dict[str, Any]:
        return {"token": self._tokenizer.decode([token]), "logprob": logprob}


@dataclass
class Manners:
    """What the server does instead of answering well, and what it was sent."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """Sent in place of the model's answer."""
    stall: Event | None = None
    """Waited for before anything is answered."""
    logprobs: bool = True
    """Whether log-probabilities are given to who asks for them."""
    requests: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def serving(model: LanguageModel, manners: Manners) -> Iterator[str]:
    """Serve inside the block, which gets the base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(model, manners))
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, name="openai-server")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        if manners.stall:
            manners.stall.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(model: LanguageModel, manners: Manners) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            manners.requests.append(body)
            if manners.stall:
                manners.stall.wait()
            if self.headers.get("authorization") != f"Bearer {KEY}":
                self._send(401, b'{"error": {"message": "wrong key"}}')
            elif body["model"] != MODEL:
                self._send(404, b'{"error": {"message": "no such model"}}')
            elif manners.body is not None or manners.status != 200:
                self._send(manners.status, b"{}" if manners.body is None else manners.body)
            else:
                self._answer(model.complete(body if manners.logprobs else {**body, "logprobs": False}))

        def _answer(self, answer: dict[str, Any]) -> None:
            self._send(200, json.dumps(answer).encode())

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            for name, value in {**manners.headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:  # the caller did not want to hear it all
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler
