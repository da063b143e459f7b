"""The table of bad input: what is sent where, and what must come back."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message

from atelier.imagegen.v1 import image_service_pb2 as image_pb2
from atelier.imagegen.v1 import imagegen_pb2
from atelier.models.v1 import model_service_pb2 as models_pb2
from atelier.rewrite.v1 import rewrite_service_pb2 as rewrite_pb2
from atelier.router.v1 import router_service_pb2 as router_pb2
from atelier.voice.v1 import voice_pb2
from atelier.voice.v1 import voice_service_pb2 as speech_pb2

IMAGE = "atelier.imagegen.v1.ImageService/Generate"
SPEECH = "atelier.voice.v1.VoiceService/"
MODELS = "atelier.models.v1.ModelService/"
REWRITE = "atelier.rewrite.v1.RewriteService/"
ROUTER = "atelier.router.v1.RouterService/"
MEGABYTE = "a" * 1_000_000
NAN = float("nan")


@dataclass(frozen=True)
class Case:
    """One bad request. `messages` go to `method` of each of `services`; every one must answer with `code`."""

    name: str
    services: tuple[str, ...]
    method: str
    messages: tuple[Message | bytes, ...]
    code: str = "INVALID_ARGUMENT"
    reason: str = "INVALID_REQUEST"
    fields: frozenset[str] = field(default_factory=frozenset)


def cases() -> Iterator[Case]:
    """Yield the whole table."""
    yield from image_cases()
    yield from speech_cases()
    yield from voice_cases()
    yield from model_cases()
    yield from rewrite_cases()
    yield from router_cases()
    yield from wire_cases()


def image_cases() -> Iterator[Case]:
    def bad(name: str, *fields: str, **values: Any) -> Case:
        request = image_pb2.GenerateRequest(**({"prompt": "a lake"} | values))
        return Case(f"image: {name}", ("router", "imagegen"), IMAGE, (request,), fields=frozenset(fields))

    yield bad("empty prompt", "prompt", prompt="")
    yield bad("blank prompt", "prompt", prompt=" \n\t ")
    yield bad("prompt of a megabyte", "prompt", prompt=MEGABYTE)
    yield bad("NUL in the prompt", "prompt", prompt="a\x00lake")
    yield bad("escape in the negative prompt", "negative_prompt", negative_prompt="\x1b[31m")
    yield bad("long negative prompt", "negative_prompt", negative_prompt="x" * 4001)
    yield bad("negative steps", "steps", steps=-1)
    yield bad("no steps", "steps", steps=0)
    yield bad("too many steps", "steps", steps=2**31 - 1)
    yield bad("width 0", "width", width=0)
    yield bad("height beyond measure", "height", height=100_000)
    yield bad("guidance is no number", "guidance", guidance=NAN)
    yield bad("guidance is infinite", "guidance", guidance=float("inf"))
    yield bad("negative guidance", "guidance", guidance=-1.0)
    yield bad("10 000 pictures", "count", count=10_000)
    yield bad("no pictures", "count", count=0)
    yield bad("negative seed", "seed", seed=-1)
    yield bad("quality 0", "quality", quality=0)
    yield bad("quality 101", "quality", quality=101)
    yield bad("unknown format", "format", format=99)
    yield bad("unknown priority", "priority", priority=99)
    yield bad("unknown safety policy", "safety", safety=99)
    yield bad("negative preview", "preview_every", preview_every=-1)
    many = [imagegen_pb2.Adapter(id="x")] * 5
    yield bad("five adapters", "adapters", adapters=many)
    yield bad("adapter without id", "adapters[0].id", adapters=[imagegen_pb2.Adapter()])
    heavy = [imagegen_pb2.Adapter(id="x", weight=NAN)]
    yield bad("adapter weight is no number", "adapters[0].weight", adapters=heavy)
    for name, fields, source in (
        ("source is no picture", {"source.data"}, imagegen_pb2.SourceImage(data=b"GIF89a nonsense")),
        ("source without data", {"source.data"}, imagegen_pb2.SourceImage()),
        ("strength of 2", {"source.data", "source.strength"}, imagegen_pb2.SourceImage(data=b"x", strength=2.0)),
    ):
        request = image_pb2.GenerateRequest(prompt="a lake", source=source)
        yield Case(f"image: {name}", ("imagegen",), IMAGE, (request,), fields=frozenset(fields))
    yield bad("everything at once", "prompt", "width", "guidance", prompt="", width=0, guidance=NAN)
    nobody = image_pb2.GenerateRequest(prompt="a lake", model="flux_deb")
    yield Case("image: unknown model", ("router", "imagegen"), IMAGE, (nobody,), "NOT_FOUND", "UNKNOWN_MODEL")


def speech_cases() -> Iterator[Case]:
    config = speech_pb2.SynthesisConfig
    audio = voice_pb2.AudioConfig
    unknown_format: dict[str, Any] = {"format": 99}

    def bad(name: str, *fields: str, **values: Any) -> Case:
        request = speech_pb2.SynthesizeRequest(**({"text": "Good evening."} | values))
        return Case(f"speech: {name}", ("router", "voice"), f"{SPEECH}Synthesize", (request,), fields=frozenset(fields))

    yield bad("empty text", "text", text="")
    yield bad("text of a megabyte", "text", text=MEGABYTE)
    yield bad("NUL in the text", "text", text="a\x00b")
    yield bad("sample rate 0", "config.audio.sample_rate", config=config(audio=audio(sample_rate=0)))
    yield bad("rate is no number", "config.audio.rate", config=config(audio=audio(rate=NAN)))
    yield bad("pitch of 10", "config.audio.pitch", config=config(audio=audio(pitch=10.0)))
    yield bad("negative volume", "config.audio.volume", config=config(audio=audio(volume=-1.0)))
    yield bad("unknown format", "config.audio.format", config=config(audio=audio(**unknown_format)))
    yield bad("unknown language", "config.language", config=config(language="tlh-klingon"))

    def unknown(name: str, reason: str, **values: Any) -> Case:
        request = speech_pb2.SynthesizeRequest(text="Good evening.", config=config(**values))
        return Case(f"speech: {name}", ("router", "voice"), f"{SPEECH}Synthesize", (request,), "NOT_FOUND", reason)

    yield unknown("unknown voice", "UNKNOWN_VOICE", voice="espeak/nobody")
    yield unknown("unknown model", "UNKNOWN_MODEL", model="xttz")

    def stream(name: str, *parts: dict[str, Any], fields: tuple[str, ...]) -> Case:
        messages = tuple(speech_pb2.SynthesizeStreamRequest(**part) for part in parts)
        method = f"{SPEECH}SynthesizeStream"
        return Case(f"stream: {name}", ("router", "voice"), method, messages, fields=frozenset(fields))

    yield stream("text before config", {"text": "hello"}, fields=("config",))
    yield stream("nothing at all", fields=("config",))
    yield stream("second config", {"config": config()}, {"config": config()}, fields=("config",))
    yield stream("text too long", {"config": config()}, {"text": "x" * 10_001}, fields=("text",))


def voice_cases() -> Iterator[Case]:
    both = ("router", "voice")
    get, delete = speech_pb2.GetVoiceRequest, speech_pb2.DeleteVoiceRequest
    nobody = ("NOT_FOUND", "UNKNOWN_VOICE")
    yield Case("voice: get nothing", both, f"{SPEECH}GetVoice", (get(),), fields=frozenset({"voice"}))
    yield Case("voice: get nobody", both, f"{SPEECH}GetVoice", (get(voice="espeak/nobody"),), *nobody)
    yield Case("voice: delete nobody", both, f"{SPEECH}DeleteVoice", (delete(voice="nobody"),), *nobody)
    yield Case("voice: a path for a name", both, f"{SPEECH}GetVoice", (get(voice="../../../etc/passwd"),), *nobody)
    part = speech_pb2.CreateVoiceRequest
    create = f"{SPEECH}CreateVoice"
    yield Case("voice: clip before config", both, create, (part(clip=b"RIFF"),), fields=frozenset({"config"}))
    wrong = part(config=speech_pb2.CreateVoiceConfig(id="NOT ALLOWED", consent=False))
    violations = frozenset({"config.id", "config.consent", "clip"})
    yield Case("voice: bad id, no consent, no clip", both, create, (wrong,), fields=violations)


def model_cases() -> Iterator[Case]:
    everyone = ("imagegen", "voice", "rewrite_llm")
    requests: dict[str, Any] = {
        "GetModel": models_pb2.GetModelRequest,
        "LoadModel": models_pb2.LoadModelRequest,
        "UnloadModel": models_pb2.UnloadModelRequest,
        "PinModel": models_pb2.PinModelRequest,
    }
    for method, request in requests.items():
        path = f"{MODELS}{method}"
        yield Case(f"{method}: no id", everyone, path, (request(),), fields=frozenset({"model"}))
        nobody = (request(model="nobody"),)
        yield Case(f"{method}: unknown id", everyone, path, nobody, "NOT_FOUND", "UNKNOWN_MODEL")


def rewrite_cases() -> Iterator[Case]:
    candidate = rewrite_pb2.Candidate

    def select(name: str, *fields: str, **values: Any) -> Case:
        good = {"prompt": "a lake", "candidates": [candidate(id="m", strengths="lakes")]}
        request = rewrite_pb2.SelectModelRequest(**(good | values))
        return Case(f"select: {name}", ("rewrite_llm",), f"{REWRITE}SelectModel", (request,), fields=frozenset(fields))

    yield select("empty prompt", "prompt", prompt="")
    yield select("no candidates", "candidates", candidates=[])
    yield select("65 candidates", "candidates", candidates=[candidate(id=f"m{n}", strengths="x") for n in range(65)])
    yield select("candidate without id", "candidates[0].id", candidates=[candidate(strengths="x")])
    yield select("unknown default", "default_id", default_id="nobody")
    for method, request in {
        "ScreenPrompt": rewrite_pb2.ScreenPromptRequest,
        "JudgePrompt": rewrite_pb2.JudgePromptRequest,
        "RewritePrompt": rewrite_pb2.RewritePromptRequest,
    }.items():
        path = f"{REWRITE}{method}"
        prompt = frozenset({"prompt"})
        yield Case(f"{method}: empty prompt", ("rewrite_llm",), path, (request(prompt=""),), fields=prompt)
        yield Case(f"{method}: a megabyte", ("rewrite_llm",), path, (request(prompt=MEGABYTE),), fields=prompt)


def router_cases() -> Iterator[Case]:
    path = f"{ROUTER}Route"
    empty = router_pb2.RouteRequest()
    yield Case("route: no request", ("router",), path, (empty,), fields=frozenset({"request.prompt"}))
    request = image_pb2.GenerateRequest(prompt="a lake", allowed_models=["nobody"])
    unknown = (router_pb2.RouteRequest(request=request),)
    violations = frozenset({"request.allowed_models"})
    yield Case("route: only unknown models allowed", ("router",), path, unknown, fields=violations)


def wire_cases() -> Iterator[Case]:
    everyone = ("router", "imagegen", "voice", "rewrite_llm")
    nothing = image_pb2.GenerateRequest()
    yield Case("wire: no such service", everyone, "atelier.nothing.v1.Nothing/Do", (nothing,), "UNIMPLEMENTED", "")
    yield Case(
        "wire: no such method", ("imagegen",), "atelier.imagegen.v1.ImageService/Paint", (nothing,), "UNIMPLEMENTED", ""
    )
    huge = image_pb2.GenerateRequest(prompt="a lake", source=imagegen_pb2.SourceImage(data=bytes(5 * 2**20)))
    yield Case("wire: message over 4 MiB", ("router", "imagegen"), IMAGE, (huge,), "RESOURCE_EXHAUSTED", "")
    garbage = b"\xff\xff\xff\xff not protobuf"
    everything = frozenset({"*"})
    yield Case("wire: not protobuf", ("router", "imagegen"), IMAGE, (garbage,), fields=everything)
