import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import AliasChoices, Field, ValidationError
from pydantic_settings import SettingsConfigDict

from servekit.settings import BackendSettings, ServerSettings, WrongSettings, from_environment, is_loopback


class Settings(ServerSettings):
    model_config = SettingsConfigDict(env_prefix="TOY_")

    words: int = 3
    """How many."""


def test_a_service_has_its_own_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_PORT", "50051")
    monkeypatch.setenv("TOY_WORDS", "4")
    settings = Settings()
    assert (settings.port, settings.words) == (50051, 4)


def test_none_turns_a_limit_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_DEFAULT_DEADLINE_S", "none")
    assert Settings().default_deadline_s is None


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1


def test_every_setting_is_documented() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("port", [-1, 65536])
def test_an_impossible_port_is_refused(port: int) -> None:
    with pytest.raises(ValidationError, match="port"):
        Settings(port=port)


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "::", "studio.example"])
def test_strangers_are_kept_out(host: str) -> None:
    with pytest.raises(ValidationError, match=r"callers_file.*tls_client_ca_file.*allow_unauthenticated"):
        Settings(host=host)


def test_strangers_are_let_in_on_request() -> None:
    assert Settings(host="0.0.0.0", allow_unauthenticated=True).host == "0.0.0.0"


def test_mutual_tls_is_enough_to_listen_to_the_world() -> None:
    pem = Path("x.pem")
    assert Settings(host="0.0.0.0", tls_cert_file=pem, tls_key_file=pem, tls_client_ca_file=pem).host == "0.0.0.0"


def test_tls_without_client_certificates_is_not() -> None:
    with pytest.raises(ValidationError, match="reachable from outside"):
        Settings(host="0.0.0.0", tls_cert_file=Path("x.pem"), tls_key_file=Path("x.pem"))


def test_keys_are_not_taken_in_the_clear_beyond_loopback() -> None:
    with pytest.raises(ValidationError, match=r"in the clear: set tls_cert_file and tls_key_file, or allow_plaintext"):
        Settings(host="0.0.0.0", callers_file=Path("callers.toml"))


@pytest.mark.parametrize(
    "guarded", [{"allow_plaintext": True}, {"tls_cert_file": Path("x.pem"), "tls_key_file": Path("x.pem")}]
)
def test_keys_and_tls_are_enough_to_listen_to_the_world(guarded: dict[str, Any]) -> None:
    assert Settings(host="0.0.0.0", callers_file=Path("callers.toml"), **guarded).host == "0.0.0.0"


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(ValidationError, match="together"):
        Settings(tls_cert_file=Path("x.pem"))


def test_a_client_ca_needs_a_certificate() -> None:
    with pytest.raises(ValidationError, match="tls_client_ca_file needs"):
        Settings(tls_client_ca_file=Path("x.pem"))


def test_a_key_for_the_servers_behind_is_sent_over_tls_only() -> None:
    with pytest.raises(ValidationError, match="backend_api_key_file needs backend_ca_file"):
        BackendSettings(backend_api_key_file=Path("api.key"))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("10.0.0.1", False),
    ],
)
def test_loopback_is_recognised(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


class Aliased(Settings):
    limit: int = Field(default=1, validation_alias=AliasChoices("TOY_limit", "limit", "LIMIT_OF_THE_NOTES"))
    """An alias beside the name."""
    policy: dict[str, int] = Field(default_factory=dict)
    """A JSON object."""


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("TOY_PORT", "abc", r"TOY_PORT: Input should be a valid integer.*\(got 'abc'\)"),
        ("TOY_LIMIT", "x", r"TOY_LIMIT: .*\(got 'x'\)"),
        ("LIMIT_OF_THE_NOTES", "x", r"LIMIT_OF_THE_NOTES: .*\(got 'x'\)"),
        ("TOY_POLICY", "{", "TOY_POLICY: must be JSON"),
        ("TOY_POLICY", '{"a": "b"}', r"TOY_POLICY\.a: .*\(got 'b'\)"),
        ("TOY_HOST", "0.0.0.0", r"TOY_\*: host 0\.0\.0\.0 is reachable from outside.*"),
    ],
)
def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(WrongSettings) as caught:
        from_environment(Aliased)
    assert re.fullmatch(told, str(caught.value))


def test_every_wrong_variable_has_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_PORT", "-1")
    monkeypatch.setenv("TOY_WORDS", "many")
    with pytest.raises(WrongSettings) as caught:
        from_environment(Settings)
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == ["TOY_PORT", "TOY_WORDS"]


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_WORDS", "5")
    assert from_environment(Settings).words == 5
