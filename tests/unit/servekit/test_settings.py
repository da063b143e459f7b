import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import AliasChoices, Field, ValidationError
from pydantic_settings import SettingsConfigDict

from servekit.errors import NotFound
from servekit.settings import (
    BackendSettings,
    ServerSettings,
    Target,
    Targets,
    WrongSettings,
    blaming,
    check_files,
    from_environment,
    is_loopback,
)
from tests.authority import Authority


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


@pytest.mark.parametrize("size", [1023, 2**31])
def test_a_size_that_grpc_cannot_keep_to_is_refused(size: int) -> None:
    with pytest.raises(ValidationError, match="max_message_bytes"):
        Settings(max_message_bytes=size)


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
    ("wanted", "told"), [({"audit_file": Path("audit.log")}, "audit_file"), ({"audit": "all"}, "audit=all")]
)
def test_an_audit_log_needs_to_know_who_calls(wanted: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=f"{told} needs callers_file or tls_client_ca_file"):
        Settings(**wanted)
    assert Settings(**wanted, callers_file=Path("callers.toml"))


@pytest.mark.parametrize("level", ["debug", "Debug", "DEBUG"])
def test_a_level_may_be_written_in_small_letters(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_LOG_LEVEL", level)
    assert Settings().log_level == "DEBUG"


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


class Calling(BackendSettings):
    model_config = SettingsConfigDict(env_prefix="TOY_")

    one: Target = "127.0.0.1:1"
    """One server."""
    many: Targets = "127.0.0.1:1"
    """Servers."""


@pytest.mark.parametrize("target", ["host:1", "[::1]:50052", "dns:///a.b:65535", "ipv4:10.0.0.1:80"])
def test_a_target_has_a_port(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_ONE", target)
    monkeypatch.setenv("TOY_MANY", f"{target}, {target}")
    assert from_environment(Calling).one == target


@pytest.mark.parametrize("target", ["", "foo", "foo:", ":1", "foo:0", "foo:65536", "foo:x", "http://x:1", "a b:1"])
@pytest.mark.parametrize("name", ["ONE", "MANY"])
def test_what_is_no_target_is_refused(name: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"TOY_{name}", target)
    with pytest.raises(WrongSettings, match=rf"^TOY_{name}: .*must (be host:port|name at least one server)"):
        from_environment(Calling)


def _trouble(settings: ServerSettings) -> list[str]:
    with pytest.raises(WrongSettings) as caught:
        check_files(settings)
    return str(caught.value).splitlines()


def test_every_file_that_is_not_there_has_a_line(tmp_path: Path) -> None:
    none = tmp_path / "none"
    settings = Calling(
        tls_cert_file=none,
        tls_key_file=none,
        tls_client_ca_file=none,
        callers_file=none,
        backend_ca_file=none,
        backend_api_key_file=none,
    )
    names = ("TLS_CERT", "TLS_KEY", "TLS_CLIENT_CA", "CALLERS", "BACKEND_CA", "BACKEND_API_KEY")
    assert _trouble(settings) == [f"TOY_{name}_FILE: No such file or directory (got '{none}')" for name in names]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert _trouble(Settings(callers_file=tmp_path)) == [f"TOY_CALLERS_FILE: Is a directory (got '{tmp_path}')"]


def test_what_is_no_certificate_is_told(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("garbage")
    settings = Calling(tls_cert_file=garbage, tls_key_file=garbage, backend_ca_file=garbage)
    names = ("TLS_CERT_FILE", "BACKEND_CA_FILE")
    assert _trouble(settings) == [f"TOY_{name}: holds no certificate in PEM (got '{garbage}')" for name in names]


def test_a_key_must_be_that_of_its_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair, other = authority.issue("one"), authority.issue("other")
    check_files(Settings(tls_cert_file=pair.cert, tls_key_file=pair.key, tls_client_ca_file=authority.file))
    for key in (other.key, pair.cert):
        (line,) = _trouble(Settings(tls_cert_file=pair.cert, tls_key_file=key))
        assert line.startswith("TOY_TLS_KEY_FILE: holds no private key")


def test_settings_without_files_are_fine() -> None:
    check_files(Calling())


@pytest.mark.parametrize("error", [ValueError("one\ntwo"), OSError("one\ntwo"), NotFound("model", "x")])
def test_what_a_setting_is_to_blame_for_names_it(error: Exception) -> None:
    with pytest.raises(WrongSettings) as caught, blaming(Settings(), "words"):
        raise error
    assert str(caught.value).splitlines() == [f"TOY_WORDS: {line}" for line in str(error).splitlines()]
