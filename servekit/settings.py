"""The settings every service has. A service subclasses `ServerSettings` with its own prefix and defaults."""

import ipaddress
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from servekit.errors import ServingError
from servekit.files import Certificates, File, Use, check_key


class WrongSettings(ValueError):
    """The environment is wrong; the message has a line for each wrong variable, with what is accepted."""


_PORTS = range(1, 65536)


def checked_target(target: str) -> str:
    """Return the address of a server; raises `ValueError` unless it is `host:port` or `dns:///host:port`."""
    host, _, port = target.removeprefix("dns:///").rpartition(":")
    if not re.fullmatch(r"[^\s/,]+", host) or not port.isdecimal() or int(port) not in _PORTS:
        raise ValueError(f"{target!r} must be host:port or dns:///host:port")
    return target


def _checked_targets(targets: str) -> str:
    parts = [part.strip() for part in targets.split(",") if part.strip()]
    if not parts:
        raise ValueError("must name at least one server")
    for part in parts:
        checked_target(part)
    return targets


Target = Annotated[str, AfterValidator(checked_target)]
"""The address of a server, or one name of several."""
Targets = Annotated[str, AfterValidator(_checked_targets)]
"""Addresses of servers, separated by commas."""
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"],
    BeforeValidator(lambda level: level.upper() if isinstance(level, str) else level),
]


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

    max_message_bytes: int = Field(default=4 * 1024 * 1024, ge=1024, le=2**31 - 1)
    """Largest message taken or sent; larger payloads travel in chunks."""
    max_concurrent_calls: int | None = Field(default=None, ge=1)
    """Calls served at once before more are refused with `OVERLOADED`; `none` for no limit. Watches and health checks do
    not count."""
    default_deadline_s: float | None = Field(default=600.0, gt=0)
    """Seconds a call may take when its caller set no deadline; `none` for no limit."""

    drain_delay_s: float = Field(default=0.0, ge=0)
    """Seconds between turning unhealthy and closing the port, for load balancers to notice; calls are still served."""
    grace_s: float = Field(default=30.0, ge=0)
    """Seconds that calls in flight get to finish once the port is closed."""

    log_level: LogLevel = "INFO"
    """Least severe level that is logged, in capital or small letters."""
    log_format: Literal["json", "console"] = "json"
    """One JSON object per line, or text for people on the console."""
    log_prompts: bool = False
    """Whether what callers send is written into the log, at most 2000 characters a message."""
    uvloop: bool = True
    """Whether to run on uvloop instead of asyncio's own event loop."""

    tls_cert_file: Certificates = None
    """PEM certificate chain of this server; read again when the file changes."""
    tls_key_file: File = None
    """PEM private key of this server."""
    tls_client_ca_file: Certificates = None
    """PEM certificate authorities that callers must be signed by; without it anybody may call."""

    callers_file: File = None
    """TOML file of those who may call, with their keys, roles and limits; read again when it changes. Without it all
    may whom `tls_client_ca_file` lets in. See docs/operate/security.md."""
    allow_unauthenticated: bool = False
    """Whether to listen beyond loopback without knowing who calls, for instance where only the router gets through."""
    allow_plaintext: bool = False
    """Whether to take keys and tokens beyond loopback without TLS, for instance behind a proxy that ends it."""
    audit: Literal["privileged", "all"] = "privileged"
    """Calls in the audit log: the refused ones and those that need more than the role `user`, or all; `all` needs
    `callers_file` or mutual TLS."""
    audit_file: Path | None = None
    """File that the audit log is appended to, JSON lines; without it, it goes into the ordinary log. Needs
    `callers_file` or mutual TLS."""
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
    def _somebody_is_audited(self) -> Self:
        wanted = "audit_file" if self.audit_file else "audit=all" if self.audit == "all" else ""
        if wanted and not (self.callers_file or self.tls_client_ca_file):
            raise ValueError(f"{wanted} needs callers_file or tls_client_ca_file: else nothing is written down")
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

    backend_ca_file: Certificates = None
    """PEM authorities that the servers behind this one must be signed by; calls to them then go over TLS, and show
    `tls_cert_file`. Without it they go in the clear."""
    backend_api_key_file: File = None
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
        raise WrongSettings(f"{variable(kind, found[1])}: must be JSON" if found else str(error)) from None


def check_files(settings: ServerSettings) -> None:
    """Look at the files and folders that the settings name. Raises `WrongSettings` with a line for each wrong one."""
    kind = type(settings)
    wrong = {name: trouble for name in kind.model_fields if (trouble := _file_trouble(settings, name))}
    if wrong:
        told = (f"{variable(kind, name)}: {each} (got '{getattr(settings, name)}')" for name, each in wrong.items())
        raise WrongSettings("\n".join(told))
    if settings.tls_cert_file is not None and settings.tls_key_file is not None:
        with blaming(settings, "tls_key_file"):
            check_key(settings.tls_key_file, settings.tls_cert_file)


def _file_trouble(settings: ServerSettings, name: str) -> str:
    uses = [each for each in type(settings).model_fields[name].metadata if isinstance(each, Use)]
    path = getattr(settings, name)
    return "" if path is None else next(filter(None, (use.trouble(path) for use in uses)), "")


@contextmanager
def blaming(settings: ServerSettings, name: str) -> Iterator[None]:
    """Raise `WrongSettings`, each line with the variable of the setting `name`, for what goes wrong in the block."""
    try:
        yield
    except (OSError, ValueError, ServingError) as error:
        named = variable(type(settings), name)
        raise WrongSettings("\n".join(f"{named}: {line}" for line in str(error).splitlines())) from error


def _told(kind: type[ServerSettings], error: Any) -> str:
    problem = str(error["msg"]).removeprefix("Value error, ")
    if not error["loc"]:  # of several settings together, which the message names
        return f"{kind.model_config['env_prefix']}*: {problem}"
    name, *inside = map(str, error["loc"])
    return f"{'.'.join([variable(kind, name), *inside])}: {problem} (got {error['input']!r:.80})"


def variable(kind: type[ServerSettings], name: str) -> str:
    """Return the variable that a setting was read from; `name` is the setting's own or one of its aliases."""
    for own, field in kind.model_fields.items():
        alias = field.validation_alias
        aliases = [str(each) for each in alias.choices] if isinstance(alias, AliasChoices) else []
        if name in (own, *aliases):
            usual = f"{kind.model_config['env_prefix']}{own}"
            return next((each.upper() for each in aliases if each.upper() in os.environ), usual.upper())
    return name.upper()
