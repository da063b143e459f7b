import math
from pathlib import Path

import pytest

from servekit.access.callers import Callers, CallersError
from servekit.access.domain import Limits, Role
from servekit.keys import new_key, split


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "callers.toml"


def _load(file: Path, text: str) -> Callers:
    file.write_text(text)
    return Callers.load(file)


def test_a_key_finds_its_caller(file: Path) -> None:
    key, stored = new_key()
    callers = _load(file, f'[[caller]]\nname = "web"\nkeys = ["{stored.text}"]')
    parts = split(key)
    assert parts is not None
    found = callers.with_key(*parts)
    assert found is not None
    assert (found.name, found.roles, found.limits) == ("web", frozenset({Role.USER}), Limits())


def test_a_wrong_secret_or_an_unknown_id_finds_nobody(file: Path) -> None:
    _, stored = new_key()
    callers = _load(file, f'[[caller]]\nname = "web"\nkeys = ["{stored.text}"]')
    assert callers.with_key(stored.id, "x" * 43) is None
    assert callers.with_key("00000000", "x" * 43) is None


def test_identities_and_subjects_find_their_caller(file: Path) -> None:
    callers = _load(file, '[[caller]]\nname = "web"\nidentities = ["spiffe://a/web"]\nsubjects = ["auth0|7"]')
    by_identity, by_subject = callers.with_identity(["web.example", "spiffe://a/web"]), callers.with_subject("auth0|7")
    assert by_identity is not None
    assert by_identity.name == "web"
    assert by_subject == by_identity
    assert callers.with_identity(["spiffe://a/other"]) is None
    assert callers.with_subject("auth0|8") is None


def test_limits_that_a_caller_does_not_set_are_the_defaults(file: Path) -> None:
    callers = _load(
        file,
        """
        defaults = { requests_per_second = 0.5, concurrent_calls = 2, priority = "low" }
        caller = [
            { name = "a", identities = ["a"] },
            { name = "b", identities = ["b"], requests_per_second = inf, burst = 9, priority = "high" },
        ]
        """,
    )
    limits = {name: callers.with_identity([name]) for name in "ab"}
    assert limits["a"] is not None
    assert limits["a"].limits == callers.defaults == Limits(0.5, 1, 2, "low")
    assert limits["b"] is not None
    assert limits["b"].limits == Limits(math.inf, 9, 2, "high")


def test_names_and_serial_numbers_are_revoked(file: Path) -> None:
    callers = _load(file, '[revoked]\nidentities = ["spiffe://a/old"]\ncertificates = ["0AF3"]')
    assert callers.revoked(["old.example", "spiffe://a/old"], 0x11)
    assert callers.revoked(["new.example"], 0xAF3)
    assert not callers.revoked(["new.example"], 0x11)


@pytest.mark.parametrize("serial", ["0AF3B1", "AF3B1", "0af3b1", "0a:f3:b1", "0xaf3b1"])
def test_a_serial_number_may_be_written_as_any_tool_writes_it(file: Path, serial: str) -> None:
    assert _load(file, f'[revoked]\ncertificates = ["{serial}"]').revoked([], 0xAF3B1)


@pytest.mark.parametrize("serial", ['"0AF3G1"', '""', '"serial=0AF3B1"', "1234"])
def test_what_is_no_serial_number_is_told(file: Path, serial: str) -> None:
    with pytest.raises(CallersError, match=r"revoked\.certificates\.0: a serial number is written in hexadecimal"):
        _load(file, f"[revoked]\ncertificates = [{serial}]")


def test_every_mistake_has_a_line(file: Path) -> None:
    with pytest.raises(CallersError) as caught:
        _load(
            file,
            """
            [[caller]]
            name = "a b"
            keys = ["secret"]
            roles = ["king"]
            colour = "red"
            [defaults]
            requests_per_second = 0
            [tokens]
            issuer = "http://id.example/"
            audience = "atelier"
            algorithms = ["HS256"]
            """,
        )
    told = str(caught.value)
    assert "callers.toml: caller.0.name: " in told
    assert "caller.0.keys.0: a key is written <id>:sha256:<digest>" in told
    assert "caller.0.roles.0: Input should be 'user', 'cloner' or 'operator'" in told
    assert "caller.0.colour: Extra inputs are not permitted" in told
    assert "defaults.requests_per_second: Input should be greater than 0" in told
    assert "tokens.algorithms.0: " in told


@pytest.mark.parametrize("row", ['keys = ["{}"]', 'key = ["{}"]', 'roles = ["{}"]'])
def test_a_key_that_was_pasted_by_mistake_is_not_told(file: Path, row: str) -> None:
    key, _ = new_key()
    with pytest.raises(CallersError, match=r"callers\.toml: caller\.0\.") as caught:
        _load(file, f'[[caller]]\nname = "web"\n{row.format(key)}')
    parts = split(key)
    assert parts is not None
    assert parts[1] not in str(caught.value)


def test_an_issuer_must_be_safe_to_ask(file: Path) -> None:
    with pytest.raises(CallersError, match="must begin with https://"):
        _load(file, '[tokens]\nissuer = "http://id.example/"\naudience = "atelier"')


def test_what_is_there_twice_is_named(file: Path) -> None:
    _, stored = new_key()
    row = f'[[caller]]\nname = "web"\nkeys = ["{stored.text}"]\nidentities = ["i"]\nsubjects = ["s"]\n'
    with pytest.raises(CallersError) as caught:
        _load(file, row + row)
    for each in ("the name web", f"the key {stored.id}", "the identity i", "the subject s"):
        assert f"{each} is there 2 times" in str(caught.value)


def test_what_is_no_toml_is_told(file: Path) -> None:
    with pytest.raises(CallersError, match=r"callers\.toml: "):
        _load(file, "caller = [")


def test_behind_the_router_of_the_kubernetes_component_its_word_is_believed() -> None:
    shipped = Path(__file__).parents[4] / "deploy" / "k8s" / "components" / "mtls" / "callers.toml"
    callers = Callers.load(shipped)
    router, imagegen = callers.with_identity(["router"]), callers.with_identity(["imagegen"])
    assert router is not None
    assert imagegen is not None
    assert (router.roles, router.speaks_for_others, imagegen.speaks_for_others) == (frozenset(Role), True, True)
