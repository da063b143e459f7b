"""XTTS as an engine: one device thread, one batch for all who want to be heard. Torch is imported on that thread."""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from servekit.device import DevicePlan
from servekit.errors import ModelUnavailable
from servekit.worker import DeviceWorker
from services.voice.domain import Clip, EngineSpec, Latents, Piece, Placement, Roster, Utterance
from services.voice.engines.xtts import languages
from services.voice.engines.xtts.probes import Gpu, find_gpu
from services.voice.engines.xtts.roster import roster, shipped
from services.voice.engines.xtts.weights import LICENCE, SAMPLE_RATE, Checkpoint
from services.voice.ports import Capabilities

if TYPE_CHECKING:
    from services.voice.engines.xtts.instrument import Instrument

logger = logging.getLogger(__name__)

_PACKAGES = ("TTS", "torchaudio", "torchcodec")


class Family:
    """XTTS engines, all on the one thread of `worker`, which whoever made it starts and closes.

    `device` is a mode of `modes.py` or `auto`, `dtype` the GPT's or `auto`, `batch` how many sentences are spoken at
    once. `agreed` tells that the licence of the weights was agreed to, so that they may be downloaded. `on_placed` is
    told where an engine runs, from its device thread.
    """

    def __init__(
        self,
        *,
        worker: DeviceWorker,
        device: str,
        dtype: str,
        batch: int,
        threads: int,
        agreed: bool,
        models_dir: Path,
        on_placed: Callable[[Placement], None],
        find_gpu: Callable[[], Gpu] = find_gpu,
    ) -> None:
        self._worker = worker
        self._device = device
        self._dtype = dtype
        self._batch = batch
        self._threads = threads
        self._agreed = agreed
        self._models_dir = models_dir
        self._on_placed = on_placed
        self._find_gpu = find_gpu

    def capabilities(self, spec: EngineSpec) -> Capabilities:
        """Return what XTTS can do."""
        return Capabilities(
            sample_rate=SAMPLE_RATE,
            streaming=True,
            rate=True,
            cloning=True,
            languages=languages.available(),
            batch=self._batch,
            max_seconds_per_character=0.6,
        )

    async def roster(self, spec: EngineSpec) -> Roster:
        """Return the speakers of the checkpoint; those of coqui/XTTS-v2 while it is not on this disk."""
        folder = self._checkpoint(spec).local() if _is_installed() else None
        if folder is None:
            return roster(spec, shipped())
        return roster(spec, await self._worker.run(lambda _: _speaker_names(folder)))

    async def load(self, spec: EngineSpec) -> "XttsEngine":
        """Load a checkpoint, downloading it if its licence was agreed to. Raises `ModelUnavailable`."""
        if not _is_installed():
            raise ModelUnavailable(
                "XTTS is not installed; install the extra `xtts` of atelier-studio (docs/architecture/08-voice.md)"
            )
        folder = await _fetched(self._checkpoint(spec))
        instrument = await self._worker.run(lambda _: self._load(spec, folder))
        return XttsEngine(self._worker, instrument, batch=self._batch)

    def _checkpoint(self, spec: EngineSpec) -> Checkpoint:
        return Checkpoint(spec.source, agreed=self._agreed, models_dir=self._models_dir)

    def _load(self, spec: EngineSpec, folder: Path) -> "Instrument":
        logger.info("%s: %s", spec.model, LICENCE)
        from services.voice.engines.xtts.instrument import load

        return load(
            folder,
            requested=self._device,
            dtype=self._dtype,
            threads=self._threads,
            gpu=Gpu() if self._device == "cpu" else self._find_gpu(),
            on_mode=partial(self._tell, spec.model),
        )

    def _tell(self, model: str, mode: str, plan: DevicePlan, before: str) -> None:
        self._on_placed(Placement(model, mode, plan, before))


class XttsEngine:
    """A loaded checkpoint. `batch` sentences are spoken at once, more wait in the order of arrival."""

    def __init__(self, worker: DeviceWorker, instrument: "Instrument", *, batch: int) -> None:
        from services.voice.engines.xtts.stage import Stage

        self._worker = worker
        self._instrument = instrument
        self._stage = Stage(worker, instrument.choir, most=batch)

    @property
    def resident_bytes(self) -> int:
        """Bytes of its weights, wherever they are."""
        return int(self._instrument.choir.placed.resident_bytes)

    async def speak(self, utterance: Utterance) -> AsyncGenerator[Piece, None]:
        """Speak. Closing it stops the work at the next token. Raises `EngineFailure`."""
        instrument, stage, ahead = self._instrument, self._stage, utterance.ahead
        for speech in await self._worker.run(lambda _: list(instrument.speeches(utterance))):
            async with aclosing(stage.speak(speech, ahead=ahead)) as pieces:
                async for samples in pieces:
                    yield samples
                    ahead = False  # whoever asks for more is listening

    async def clone(self, clip: Clip) -> Latents:
        """Return the voice of a clip. Raises `EngineFailure`."""
        return await self._worker.run(lambda _: self._instrument.clone(clip))

    async def close(self) -> None:
        """Stop and forget the weights."""
        from services.voice.engines.xtts.instrument import release

        await self._stage.close()
        del self._instrument, self._stage
        await self._worker.run(lambda _: release())


def _is_installed() -> bool:
    return all(map(find_spec, _PACKAGES))


def _speaker_names(folder: Path) -> tuple[str, ...]:
    from services.voice.engines.xtts import speakers

    try:
        return tuple(speakers.read(folder))
    except ModelUnavailable as error:  # said again to whoever wants to load it
        logger.warning("%s", error)
        return ()


async def _fetched(checkpoint: Checkpoint) -> Path:
    """Return the folder of a checkpoint, downloaded on a thread of its own: the device serves others meanwhile."""
    worker = DeviceWorker("xtts-fetch")
    await worker.start()
    try:
        return await worker.run(checkpoint.fetch)
    finally:
        await worker.close()
