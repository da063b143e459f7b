"""The settings of imagegen, read from the environment by the bootstrap alone."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from servekit.files import File
from servekit.settings import BackendSettings, checked_target

_PREFIX = "ATELIER_IMAGEGEN_"


def _also(name: str, note: str) -> AliasChoices:
    """Let a setting go by its own name and by that of the user's notes."""
    return AliasChoices(f"{_PREFIX}{name}", name, note)


class ImagegenSettings(BackendSettings):
    """How imagegen serves pictures."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX)

    port: int = Field(default=50052, ge=0, le=65535)
    """gRPC port; 0 picks a free one, which is logged."""
    metrics_port: int | None = Field(default=9102, ge=0, le=65535)
    """Port of the Prometheus endpoint; 0 picks a free one, which is logged; `none` turns it off."""

    models_dir: Path = Path(__file__).parents[2] / "models"
    """Folder that the catalog's `source` paths are relative to."""
    catalog_file: File = None
    """Your own catalog: adds rows to the shipped one and changes fields of its rows."""
    models: Annotated[tuple[str, ...], NoDecode] = ()
    """Ids of the models to offer, separated by commas; `*` for the whole catalog; empty for those on this disk."""
    warm: Annotated[tuple[str, ...], NoDecode] = ("default",)
    """Models to load before the first call, separated by commas; `default` is the default model, empty for none."""
    hf_token: SecretStr | None = Field(default=None, validation_alias=_also("hf_token", "HF_TOKEN"))
    """Token for gated models of the Hugging Face hub."""
    hf_endpoint: str | None = Field(default=None, validation_alias=_also("hf_endpoint", "HF_ENDPOINT"))
    """Address of the hub or of a mirror; empty for the public one."""
    download: bool = True
    """Whether missing weights of offered models may be fetched from the hub."""
    allow_pickle: bool = False
    """Whether weights without safetensors are read from pickles, which can run code; only for what you trust."""
    logo_sdxl_model_id: str = Field(default="", validation_alias=_also("logo_sdxl_model_id", "LOGO_SDXL_MODEL_ID"))
    """Hub id that replaces the one of `logo_sdxl`; empty keeps the catalog's."""

    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Data type of weights where the model has no wish of its own."""
    stalled_after_s: float = Field(default=600.0, gt=0)
    """Seconds a trivial task may wait for the device before liveness checks fail; longer than its longest step."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads; `none` lets the device plan choose."""
    memory_fraction: float = Field(default=0.8, gt=0, le=1)
    """Share of the device's memory (on a CPU: of what this process may use) that weights may take."""
    converted_dir: Path | None = None
    """Folder for weights in the data type they are used in, if files have another: mapped by later loads, not converted
    by each. `none` keeps none."""
    compile: bool = False
    """Whether the denoising networks' repeated blocks are compiled when they first run, which takes a while and, on a
    CPU, a C++ compiler; later steps may be faster."""
    host_fraction: float = Field(default=0.5, ge=0, le=1)
    """Share of the free host memory that may keep evicted weights, which come back by one copy; only with a GPU."""
    idle_timeout_s: float | None = Field(default=None, gt=0)
    """Seconds after which an unused model leaves the device; `none` for never."""

    chunk_bytes: int = Field(default=256 * 1024, ge=1024, le=1024 * 1024)
    """Largest piece of a picture in one message, in bytes; a message costs the same to send whatever its size."""
    max_batch: int = Field(default=8, ge=1, le=64)
    """Pictures that share a forward pass at most."""
    max_running: int = Field(default=8, ge=1)
    """Requests worked on at once."""
    queue_limit: int = Field(default=64, ge=0)
    """Requests that may wait; more are refused as overloaded."""
    progress_per_s: float = Field(default=10.0, gt=0)
    """Events of progress a second at most, over all requests; each takes some tenths of a millisecond from pictures."""
    max_image_side: int | None = Field(
        default=None, ge=16, le=4096, validation_alias=_also("max_image_side", "MAX_IMAGE_SIDE")
    )
    """Longest side of a picture in pixels; larger requests are shrunk. `none` leaves it to the model."""
    max_count: int = Field(default=8, ge=1, le=64)
    """Pictures per request at most."""

    safety: Literal["block", "flag", "ignore"] = "block"
    """What happens to flagged pictures unless the request says otherwise."""
    may_ignore_safety: bool = False
    """Whether a request may turn the safety check off."""
    nsfw_model: str = ""
    """Image classifier: folder, owner/name or owner/name@commit, as Falconsai/nsfw_image_detection; empty for none."""
    nsfw_classes: Annotated[tuple[str, ...], NoDecode] = ("nsfw", "high", "medium")
    """The classifier's unsafe labels, separated by commas; their scores are added up."""
    nsfw_threshold: float = Field(default=0.5, gt=0, le=1)
    """Score from which a picture is flagged."""
    rewrite_address: str = ""
    """`host:port` of rewrite_llm, asked for a safer prompt after a picture was flagged; empty for no rewriting."""
    rewrite_timeout_s: float = Field(default=10.0, gt=0)
    """Seconds to wait for it."""

    @field_validator("rewrite_address")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        return checked_target(value) if value else value

    @field_validator("models", "warm", "nsfw_classes", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value
