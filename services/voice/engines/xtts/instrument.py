"""A checkpoint that was brought to where it runs: everything that an engine needs on its device thread."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

import torch

from servekit import garbage
from servekit.device import DevicePlan, activate, out_of_memory_as, plan_device
from servekit.device.plan import DType
from servekit.errors import EngineFailure, ModelUnavailable
from services.voice.domain import Clip, Latents, Utterance, VoiceUnusable
from services.voice.engines.xtts import checkpoint, conditioning, speakers
from services.voice.engines.xtts.choir import Choir
from services.voice.engines.xtts.modes import CPU, Mode, choose, fallback
from services.voice.engines.xtts.placement import Placed
from services.voice.engines.xtts.probes import Gpu
from services.voice.engines.xtts.rows import Speech
from services.voice.engines.xtts.speakers import Speaker
from services.voice.engines.xtts.text import Reader
from services.voice.engines.xtts.weights import SAMPLE_RATE

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Instrument:
    """What speaks, what reads, and who can be heard without a clip."""

    choir: Choir
    reader: Reader
    speakers: Mapping[str, Speaker]

    def speeches(self, utterance: Utterance) -> Iterator[Speech]:
        """Yield what is to be said one after the other.

        Raises `EngineFailure` for a speaker it does not have, `VoiceUnusable` for a voice of another checkpoint.
        """
        native = utterance.voice.native
        if utterance.latents is None and native not in self.speakers:
            raise EngineFailure(f"the checkpoint has no speaker {native!r}")
        voice = self.speakers[native] if utterance.latents is None else self._kept(utterance.latents)
        for tokens in self.reader.read(utterance.text, utterance.language):
            yield Speech(tokens, voice.conditioning, voice.speaker, utterance.seed, utterance.rate)

    def _kept(self, latents: Latents) -> Speaker:
        """Return a voice that was kept: one that the model cannot take would fail all who speak with it."""
        facts, speaker = self.choir.placed.facts, Speaker.of(latents)
        shapes = speaker.conditioning.shape[1:], speaker.speaker.shape
        if shapes != ((facts.width,), (facts.speaker_channels,)):
            raise VoiceUnusable("this voice was made with another checkpoint; delete it and make it again")
        return speaker

    def clone(self, clip: Clip) -> Latents:
        """Return the voice of a clip. Raises `EngineFailure`."""
        placed = self.choir.placed
        placed.wake()
        try:
            with torch.inference_mode():
                return conditioning.of_clip(placed.model, clip).latents
        except RuntimeError as error:
            raise EngineFailure(f"XTTS could not make a voice of a clip: {error}") from error


def load(
    folder: Path,
    *,
    requested: str,
    dtype: str,
    threads: int,
    gpu: Gpu,
    on_mode: Callable[[str, DevicePlan, str], None],
) -> Instrument:
    """Load a checkpoint in the best mode there is; `on_mode` is told each mode, its device, and the mode before.

    `requested` and `dtype` may be `auto`. Raises `ModelUnavailable` and `DeviceOutOfMemory`.
    """
    plan = plan_device(CPU, dtype=dtype, threads=threads)
    activate(plan)
    mode = choose(requested, gpu.device, gpu.report)
    place = partial(_place, folder, plan, "float32" if gpu.report.get("bfloat16") else "bfloat16", dtype)
    placed = _placed(place, mode)

    def tell(placed: Placed, before: str) -> None:
        on_mode(placed.mode.name, _plan_of(placed, plan), before)

    tell(placed, "")
    choir = Choir(placed, place, lambda following: tell(following, mode.name))
    reader = Reader(placed.model.tokenizer, placed.facts.text_limit)
    instrument = Instrument(choir, reader, speakers.read(folder))
    garbage.set_aside()
    return instrument


def release() -> None:
    """Give what no tensor holds back to the device."""
    garbage.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _plan_of(placed: Placed, plan: DevicePlan) -> DevicePlan:
    """Return the CPU's plan as the mode changes it."""
    changed = replace(plan, dtype=cast(DType, str(placed.dtype).removeprefix("torch.")), reason=placed.mode.reason)
    device = torch.device(placed.mode.device)
    if device.type == CPU:
        return changed
    name, capability = torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device)
    return replace(changed, kind="cuda", device=str(device), name=name, capability=capability)


def _placed(place: Callable[[Mode], Placed], mode: Mode) -> Placed:
    """Place a model, in another mode if this one fails at once."""
    try:
        return place(mode)
    except RuntimeError as error:
        following = fallback(mode, str(error))
        if following is None:
            raise
        logger.warning("XTTS falls back: %s", following.reason)
        return place(following)


def _place(folder: Path, plan: DevicePlan, gpu_dtype: str, requested_dtype: str, mode: Mode) -> Placed:
    wanted = plan.dtype if mode.gpt == CPU else gpu_dtype if requested_dtype == "auto" else requested_dtype
    with out_of_memory_as(plan):
        placed = Placed(checkpoint.load(folder), mode, getattr(torch, wanted))
    if placed.facts.sample_rate != SAMPLE_RATE:
        raise ModelUnavailable(f"{folder} speaks at {placed.facts.sample_rate} Hz; {SAMPLE_RATE} Hz are supported")
    logger.info("XTTS runs in mode %s, its GPT in %s: %s", mode.name, wanted, mode.reason)
    return placed
