"""The settings every service has. A service subclasses `ServerSettings` with its own prefix and defaults."""

import ipaddress
import os
import re
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import AliasChoices, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError


class WrongSettings(ValueError):
    """The environment is wrong; the message has a line for each wrong variable, with what is accepted."""


class ServerSettings(BaseSettings):
    """How a server listens, limits, logs and stops. Read from the environment, then frozen."""

    model_config = SettingsConfigDict(
        env_prefix="ATELIER_",
        env_parse_none_str="none",
        frozen=True,
        use_attribute_docstrings=True,
        populate_by_name=True,
    )

    host: str = "127.0.0.1"
    """Address to listen on. Anything but loopback needs a `callers_file` or mutual TLS, or `allow_unauthenticated`."""
    port: int = Field(default=0, ge=0, le=65535)
    """gRPC port; 0 picks a free one, which is logged."""
    metrics_host: str = "127.0.0.1"
    """Address of the Prometheus endpoint."""
    metrics_port: int | None = Field(default=0, ge=0, le=65535)
    """Port of the Prometheus endpoint; 0 picks a free one, which is logged; `none` turns it off."""

    max_message_bytes: int = Field(default=4 * 1024 * 1024, ge=1024)
    """Largest message taken or sent; larger payloads travel in chunks."""
    max_concurrent_calls: int | None = Field(default=None, ge=1)
    """Calls served at once before gRPC itself refuses more; `none` for no limit."""
    default_deadline_s: float | None = Field(default=600.0, gt=0)
    """Seconds a call may take when its caller set no deadline; `none` for no limit."""

    drain_delay_s: float = Field(default=0.0, ge=0)
    """Seconds between turning unhealthy and closing the port, for load balancers to notice; calls are still served."""
    grace_s: float = Field(default=30.0, ge=0)
    """Seconds that calls in flight get to finish once the port is closed."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe level that is logged."""
    log_format: Literal["json", "console"] = "json"
    """One JSON object per line, or text for people."""
    log_prompts: bool = False
    """Whether what callers send is written into the log, at most 2000 characters a message."""
    uvloop: bool = True
    """Whether to run on uvloop instead of asyncio's own event loop."""

    tls_cert_file: Path | None = None
    """PEM certificate chain of this server; read again when the file changes."""
    tls_key_file: Path | None = None
    """PEM private key of this server."""
    tls_client_ca_file: Path | None = None
    """PEM certificate authorities that callers must be signed by; without it anybody may call."""

    callers_file: Path | None = None
    """TOML file of those who may call, with their keys, roles and limits; read again when it changes. Without it all
    may whom `tls_client_ca_file` lets in. See docs/operate/security.md."""
    allow_unauthenticated: bool = False
    """Whether to listen beyond loopback without knowing who calls, for instance where only the router gets through."""
    allow_plaintext: bool = False
    """Whether to take keys and tokens beyond loopback without TLS, for instance behind a proxy that ends it."""
    audit: Literal["privileged", "all"] = "privileged"
    """Calls in the audit log: the refused ones and those that need more than the role `user`, or all."""
    audit_file: Path | None = None
    """File that the audit log is appended to, JSON lines; without it, it goes into the ordinary log."""
    reflection: Literal["open", "guarded", "off"] = "open"
    """Whether generic tools may ask what is served: all, those with the role `user`, none."""

    @model_validator(mode="after")
    def _tls_is_complete(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_cert_file and tls_key_file are set together or not at all")
        if self.tls_client_ca_file and not self.tls_cert_file:
            raise ValueError("tls_client_ca_file needs tls_cert_file and tls_key_file")
        return self

    @model_validator(mode="after")
    def _strangers_are_kept_out(self) -> Self:
        if is_loopback(self.host) or self.allow_unauthenticated:
            return self
        if not (self.callers_file or self.tls_client_ca_file):
            raise ValueError(
                f"host {self.host} is reachable from outside: set callers_file, or tls_cert_file, tls_key_file and"
                " tls_client_ca_file, or allow_unauthenticated if something else guards it"
            )
        if not (self.tls_cert_file or self.allow_plaintext):
            raise ValueError(
                f"host {self.host} is reachable from outside, and keys would travel in the clear: set tls_cert_file and"
                " tls_key_file, or allow_plaintext if something else encrypts"
            )
        return self


class BackendSettings(ServerSettings):
    """The settings of a server that calls others."""

    backend_ca_file: Path | None = None
    """PEM authorities that the servers behind this one must be signed by; calls to them then go over TLS, and show
    `tls_cert_file`. Without it they go in the clear."""
    backend_api_key_file: Path | None = None
    """File with the key that the servers behind this one know it by; needs `backend_ca_file`."""

    @model_validator(mode="after")
    def _keys_are_not_shouted(self) -> Self:
        if self.backend_api_key_file and not self.backend_ca_file:
            raise ValueError("backend_api_key_file needs backend_ca_file: a key is sent over TLS only")
        return self


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


S = TypeVar("S", bound=ServerSettings)


def from_environment(kind: type[S]) -> S:
    """Return the settings that the environment gives. Raises `WrongSettings`."""
    try:
        return kind()
    except ValidationError as error:
        raise WrongSettings("\n".join(_told(kind, each) for each in error.errors())) from None
    except SettingsError as error:  # a text that should be JSON; only the message tells which
        found = re.search(r'field "(\w+)"', str(error))
        raise WrongSettings(f"{_variable(kind, found[1])}: must be JSON" if found else str(error)) from None


def _told(kind: type[ServerSettings], error: Any) -> str:
    problem = str(error["msg"]).removeprefix("Value error, ")
    if not error["loc"]:  # of several settings together, which the message names
        return f"{kind.model_config['env_prefix']}*: {problem}"
    name, *inside = map(str, error["loc"])
    return f"{'.'.join([_variable(kind, name), *inside])}: {problem} (got {error['input']!r:.80})"


def _variable(kind: type[ServerSettings], name: str) -> str:
    """Return the variable that a setting was read from; `name` is the setting's own or one of its aliases."""
    for own, field in kind.model_fields.items():
        alias = field.validation_alias
        aliases = [str(each) for each in alias.choices] if isinstance(alias, AliasChoices) else []
        if name in (own, *aliases):
            usual = f"{kind.model_config['env_prefix']}{own}"
            return next((each.upper() for each in aliases if each.upper() in os.environ), usual.upper())
    return name.upper()
