"""The settings of voice, read from the environment by the bootstrap alone."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from servekit.chunks import CHUNK_BYTES
from servekit.files import File
from servekit.settings import ServerSettings


class VoiceSettings(ServerSettings):
    """How voice speaks."""

    model_config = SettingsConfigDict(env_prefix="ATELIER_VOICE_")

    port: int = Field(default=50053, ge=0, le=65535)
    """gRPC port; 0 picks a free one, which is logged."""
    metrics_port: int | None = Field(default=9103, ge=0, le=65535)
    """Port of the Prometheus endpoint; 0 picks a free one, which is logged; `none` turns it off."""

    catalog_file: File = None
    """Your own catalog: adds rows to the shipped one and changes fields of its rows."""
    warm: Annotated[tuple[str, ...], NoDecode] = ("default",)
    """Engines to load before the first call, separated by commas; `default` is the default one, empty for none."""
    idle_timeout_s: float | None = Field(default=None, gt=0)
    """Seconds after which an unused engine is unloaded; `none` for never."""
    memory_fraction: float = Field(default=0.5, gt=0, le=1)
    """Share of the memory this process may use that engines may take."""

    max_streams: int = Field(default=64, ge=1)
    """Requests spoken at once."""
    queue_limit: int = Field(default=256, ge=0)
    """Requests that may wait; more are refused as overloaded."""
    stream_idle_s: float | None = Field(default=300.0, gt=0)
    """Seconds a caller may take to send the next message of a stream, text or clip; `none` for no limit."""
    stream_buffer_bytes: int = Field(default=1024 * 1024, ge=64 * 1024)
    """Bytes of audio ahead of a slow reader from which no new sentence is begun for him."""
    chunk_bytes: int = Field(default=CHUNK_BYTES, ge=1024, le=1024 * 1024)
    """Largest piece of audio in one message, in bytes."""

    voices_dir: Path = Path(__file__).parents[2] / "voices"
    """Where voices made from clips are kept; created when the first is made. Several servers may share it."""
    voices_per_caller: int = Field(default=32, ge=1)
    """Voices made from clips that a caller may have."""
    resident_voices: int = Field(default=64, ge=1)
    """Voices made from clips that are kept in memory, the latest used."""

    espeak_workers: int = Field(default=2, ge=1, le=64)
    """espeak processes; each speaks one sentence at a time, hundreds of times faster than it is played."""
    espeak_buffer_ms: int = Field(default=20, ge=5, le=500)
    """Milliseconds of audio that espeak computes before it hands them over."""

    piper_workers: int = Field(default=1, ge=1, le=16)
    """Piper processes of a model, each with all its voices in memory; each speaks a sentence at a time on all cores."""

    models_dir: Path = Path(__file__).parents[2] / "models"
    """Folder that the `source` of an XTTS row is relative to."""
    xtts_device: Literal["auto", "cuda", "hybrid", "cpu", "layers"] = "auto"
    """Where XTTS runs; `auto` probes the GPU operation by operation, `layers` computes the heavy layers on the CPU."""
    xtts_dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Data type of XTTS's GPT; its vocoder stays in float32."""
    stalled_after_s: float = Field(default=600.0, gt=0)
    """Seconds a trivial task may wait for the device of XTTS before liveness checks fail; longer than its loading."""
    xtts_batch: int = Field(default=4, ge=1, le=64)
    """Sentences that XTTS speaks together, of one text or several, a token of each at a time; more wait."""
    coqui_tos_agreed: bool = Field(
        default=False, validation_alias=AliasChoices("ATELIER_VOICE_COQUI_TOS_AGREED", "COQUI_TOS_AGREED")
    )
    """Whether you agree to the licence of XTTS's weights (CPML, non-commercial), so that they may be downloaded."""

    @field_validator("warm", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value
