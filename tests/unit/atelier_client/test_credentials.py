from pathlib import Path

import pytest

from atelier_client import Credentials


@pytest.mark.parametrize(
    "target", ["127.0.0.1:50051", "localhost:50051", "[::1]:50051", "dns:///localhost:1", "unix:/s"]
)
def test_a_key_may_stay_on_this_machine_in_the_clear(target: str) -> None:
    assert Credentials(api_key="secret").channel(target) is None


@pytest.mark.parametrize("target", ["10.0.0.1:50051", "studio.example:443", "dns:///studio.example", "[2001:db8::1]:1"])
def test_a_key_leaves_this_machine_over_tls_only(target: str) -> None:
    with pytest.raises(ValueError, match="over TLS only"):
        Credentials(api_key="secret").channel(target)
    assert Credentials(api_key="secret", tls=True).channel(target) is not None


def test_without_a_key_plaintext_goes_anywhere() -> None:
    assert Credentials().channel("10.0.0.1:50051") is None


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(ValueError, match="together"):
        Credentials(cert_file=Path("x.pem"))


@pytest.mark.parametrize("key", ["two\nlines", "chave é", "\udcff", "tab\t"])
def test_what_cannot_be_a_key_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII") as caught:
        Credentials(api_key=key)
    assert key not in str(caught.value)


def test_a_key_is_not_shown_in_tracebacks() -> None:
    assert "secret" not in repr(Credentials(api_key="secret"))


def test_a_missing_file_is_told() -> None:
    with pytest.raises(FileNotFoundError):
        Credentials(ca_file=Path("/there/is/none")).channel("127.0.0.1:1")
