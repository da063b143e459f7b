"""The settings of rewrite_llm, read from the environment by the bootstrap alone."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from servekit.files import File, Folder
from servekit.settings import ServerSettings

_PREFIX = "ATELIER_REWRITE_"


def _also(name: str, *others: str) -> AliasChoices:
    """Let a setting go by its own name and by those of the user's notes."""
    return AliasChoices(f"{_PREFIX}{name}", name, *others)


class RewriteSettings(ServerSettings):
    """How rewrite_llm chooses, screens and rewrites."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX)

    port: int = Field(default=50054, ge=0, le=65535)
    """gRPC port; 0 picks a free one, which is logged."""
    metrics_port: int | None = Field(default=9104, ge=0, le=65535)
    """Port of the Prometheus endpoint; 0 picks a free one, which is logged; `none` turns it off."""

    llm: str = Field(default="", validation_alias=_also("llm", "REWRITE_LLM_ID", "ROUTER_LLM_ID"))
    """Language model: an id of the catalog, a folder, a hub id such as Qwen/Qwen2.5-1.5B-Instruct, or `rules` for none.
    Empty means rules alone, which decide better than the bundled sketch_qwen does so far."""
    openai_base_url: str = Field(default="", pattern=r"^(https?://\S+)?$")
    """Base URL of an OpenAI-compatible endpoint (vLLM, llama.cpp, Ollama), for instance http://127.0.0.1:8000/v1, whose
    model REWRITE_LLM_ID then names. Empty means that this service runs the model itself."""
    openai_api_key: SecretStr | None = None
    """Key for the endpoint."""
    openai_extra: dict[str, Any] = Field(default_factory=dict)
    """Further fields of every question to the endpoint, as JSON; Qwen3 on vLLM needs
    {"chat_template_kwargs": {"enable_thinking": false}}."""
    models_dir: Path = Path(__file__).parents[2] / "models"
    """Folder that the catalog's `source` paths are relative to."""
    catalog_file: File = None
    """Your own catalog: adds rows to the shipped one and changes fields of its rows."""
    hf_token: SecretStr | None = Field(default=None, validation_alias=_also("hf_token", "HF_TOKEN"))
    """Token for gated models of the Hugging Face hub."""
    download: bool = True
    """Whether weights that are not on this disk may be fetched from the hub."""

    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Data type of weights where the model has no wish of its own."""
    stalled_after_s: float = Field(default=600.0, gt=0)
    """Seconds a trivial task may wait for the device before liveness checks fail; longer than its longest step."""
    int8: bool = False
    """Whether to keep the weights of linear layers in one byte each: half the memory of bfloat16, slower, and nearly
    the same answers."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads at most; `none` lets the device plan choose."""
    memory_fraction: float = Field(default=0.9, gt=0, le=1)
    """Share of the device's memory that weights may take."""
    idle_timeout_s: float | None = Field(default=None, gt=0)
    """Seconds after which an unused model leaves the device; `none` for never. The next request brings it back."""
    reload_after_s: float = Field(default=60.0, ge=0)
    """Seconds before a model that failed to load is tried again."""
    max_batch: int = Field(default=16, ge=1, le=256)
    """Prompts that share a forward pass at most."""
    max_running: int = Field(default=64, ge=1)
    """Requests worked on at once."""
    queue_limit: int = Field(default=256, ge=0)
    """Requests that may wait; more are refused as overloaded."""

    select_limit_s: float = Field(default=5.0, gt=0)
    """Seconds the language model gets to choose a model; then rules choose."""
    screen_limit_s: float = Field(default=5.0, gt=0)
    """Seconds the language model gets to screen a prompt; then rules have the last word."""
    rewrite_limit_s: float = Field(default=30.0, gt=0)
    """Seconds the language model gets to reword a prompt; then rules reword it."""
    min_margin: float = Field(default=0.1, ge=0, le=1)
    """Smallest difference of the two best shares for which a choice stands; below it the default is taken."""
    unsafe_threshold: float = Field(default=0.8, gt=0, le=1)
    """Probability from which the language model's "unsafe" counts."""

    safety_dir: Folder = Path(__file__).parent / "safety"
    """Folder of the safety rules, one file a category."""
    selection_dir: Folder = Path(__file__).parent / "selection"
    """Folder of `topics.toml` and `injection.toml`, by which rules choose."""
    policy: dict[str, Literal["allow", "rewrite", "block"]] = Field(default_factory=dict)
    """What happens to prompts of each category, as JSON, for instance {"violence": "allow"}; categories not named keep
    the verdict of their file, and `unsafe` is what only the language model saw. `minors` is always blocked."""

    @model_validator(mode="after")
    def _an_endpoint_has_a_model(self) -> Self:
        if self.openai_base_url and self.llm in {"", "rules"}:
            raise ValueError("openai_base_url needs a model: set REWRITE_LLM_ID to the name that the endpoint gives it")
        return self

    @field_validator("policy", mode="after")
    @classmethod
    def _minors_are_blocked(cls, policy: dict[str, str]) -> dict[str, str]:
        if policy.get("minors", "block") != "block":
            raise ValueError("sexual content with minors is always blocked: leave `minors` out")
        return policy
