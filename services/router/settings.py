"""The router's settings. Read by bootstrap only."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from servekit.settings import BackendSettings, Target, Targets


class RouterSettings(BackendSettings):
    """Where the servers are, how long to think, how to place."""

    model_config = SettingsConfigDict(env_prefix="ATELIER_ROUTER_")

    port: int = Field(default=50051, ge=0, le=65535)
    """gRPC port; 0 picks a free one, which is logged."""
    metrics_port: int | None = Field(default=9101, ge=0, le=65535)
    """Port of the Prometheus endpoint; 0 picks a free one, which is logged; `none` turns it off."""

    imagegen_targets: Targets = "127.0.0.1:50052"
    """Image servers, separated by commas: `host:port`, or `dns:///host:port` for every address of a name."""
    voice_targets: Targets = "127.0.0.1:50053"
    """Voice servers, written like `imagegen_targets`."""
    rewrite_target: Target = "127.0.0.1:50054"
    """gRPC target of rewrite_llm; calls go round every address of a `dns:///` name."""
    refresh_s: float = Field(default=2.0, gt=0)
    """Seconds between two looks at the servers and at the addresses of `dns:///` names."""
    probe_timeout_s: float = Field(default=1.0, gt=0)
    """Seconds a server gets to say how it is, and a name service to find it."""

    decision_budget_s: float = Field(default=0.25, gt=0)
    """Seconds rewrite_llm gets to screen a prompt and to choose a model; then the router's rules take over."""
    judge_pause_s: float = Field(default=5.0, gt=0)
    """Seconds for which a question is not put to rewrite_llm after it was too slow five times in a row."""
    rewrite_budget_s: float = Field(default=15.0, gt=0)
    """Seconds rewrite_llm gets to make an unsafe prompt safe."""
    require_screening: bool = False
    """Whether to refuse a prompt that rewrite_llm could not screen, instead of relying on imagegen's check, if any."""
    readiness_weight: float = Field(default=0.5, ge=0, le=1)
    """How much it counts that a model could start soon; 0 ignores it."""
    readiness_band: float = Field(default=0.15, ge=0, le=1)
    """How far below the best suitability a model may be for readiness to count."""
    speculative_load: bool = True
    """Whether to have the chosen model loaded while the prompt is still being rewritten."""

    hop_margin_s: float = Field(default=0.25, ge=0)
    """Seconds of the caller's deadline that are kept for the way back, at most a tenth of it."""
    max_calls: int = Field(default=512, ge=1)
    """Pictures and voice calls carried at once; one more is refused with a hint when to retry."""
