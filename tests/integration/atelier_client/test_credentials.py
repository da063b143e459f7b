"""The clients and the command line against a voice server that knows its callers."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from atelier_client import AsyncClient, AtelierError, Client, Credentials
from atelier_client.cli.app import app
from servekit.keys import new_key
from servekit.testing import local
from services.voice.bootstrap import build
from services.voice.settings import VoiceSettings
from tests.authority import Authority


@dataclass(frozen=True)
class Studio:
    """A server, and what lets one in."""

    address: str
    authority: Authority
    good: Credentials


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[Studio]:
    authority = Authority(tmp_path)
    key, stored = new_key()
    callers = tmp_path / "callers.toml"
    callers.write_text(f'[[caller]]\nname = "ann"\nkeys = ["{stored.text}"]')
    cert, cert_key = authority.issue("server", "IP:127.0.0.1")
    own = authority.issue("ann")
    settings = local(
        VoiceSettings,
        port=0,
        tls_cert_file=cert,
        tls_key_file=cert_key,
        tls_client_ca_file=authority.file,
        callers_file=callers,
    )
    async with build(settings).serving() as address:
        yield Studio(address, authority, Credentials(key, False, authority.file, own.cert, own.key))


async def _error(studio: Studio, credentials: Credentials) -> AtelierError:
    async with AsyncClient(studio.address, credentials=credentials) as client:
        with pytest.raises(AtelierError) as caught:
            await client.voices()
    return caught.value


async def test_good_credentials_let_in(studio: Studio) -> None:
    async with AsyncClient(studio.address, credentials=studio.good) as client:
        assert await client.voices()
        assert (await client.say("Good evening.")).data


def _ask(studio: Studio) -> int:
    with Client(studio.address, credentials=studio.good) as client:
        return len(client.voices())


async def test_so_does_the_synchronous_client(studio: Studio) -> None:
    assert await asyncio.to_thread(_ask, studio) > 0


async def test_a_wrong_or_missing_key_is_told(studio: Studio) -> None:
    for wrong in ("", "wrong", new_key()[0]):
        error = await _error(studio, replace(studio.good, api_key=wrong))
        assert (error.code, error.reason) == ("UNAUTHENTICATED", "UNAUTHENTICATED")
    assert error.metadata["cause"] == "key"


@pytest.mark.parametrize("flaw", ["plaintext", "foreign server", "no certificate", "expired", "foreign"])
async def test_what_tls_refuses_is_told(studio: Studio, flaw: str, tmp_path: Path) -> None:
    foreign, day = Authority(tmp_path / "foreign"), timedelta(days=1)
    old = studio.authority.issue("old", begin=datetime.now(UTC) - 2 * day, life=day)
    stranger = foreign.issue("ann")
    good = studio.good
    wrong = {
        "plaintext": Credentials(good.api_key),
        "foreign server": replace(good, ca_file=foreign.file),
        "no certificate": replace(good, cert_file=None, key_file=None),
        "expired": replace(good, cert_file=old.cert, key_file=old.key),
        "foreign": replace(good, cert_file=stranger.cert, key_file=stranger.key),
    }
    assert (await _error(studio, wrong[flaw])).code == "UNAVAILABLE"


async def _atelier(*arguments: str, **environment: str) -> Result:
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, arguments, env=environment))


async def test_the_command_line_takes_them_as_options(studio: Studio) -> None:
    good = studio.good
    options = ["--api-key", good.api_key, "--tls-ca", str(good.ca_file)]
    options += ["--cert", str(good.cert_file), "--key", str(good.key_file)]
    result = await _atelier(*options, "voices", "--server", studio.address)
    assert result.exit_code == 0, result.output
    assert "espeak" in result.output


async def test_and_from_the_environment(studio: Studio) -> None:
    good = studio.good
    environment = {"ATELIER_API_KEY": good.api_key, "ATELIER_TLS_CA": str(good.ca_file)}
    certificate = {"ATELIER_CERT": str(good.cert_file), "ATELIER_CERT_KEY": str(good.key_file)}
    result = await _atelier("voices", "--server", studio.address, **environment, **certificate)
    assert result.exit_code == 0, result.output
    refused = await _atelier("voices", "--server", studio.address, **certificate, ATELIER_TLS_CA=str(good.ca_file))
    assert refused.exit_code == 1
    assert "UNAUTHENTICATED" in refused.output


async def test_a_new_key_goes_to_its_holder_and_its_digest_into_the_file(studio: Studio, tmp_path: Path) -> None:
    result = await _atelier("key", "new", "bob")
    key = result.stderr.split()[1]
    assert key not in result.stdout
    (tmp_path / "callers.toml").write_text(result.stdout)
    settings = local(VoiceSettings, port=0, callers_file=tmp_path / "callers.toml")
    async with (
        build(settings).serving() as address,
        AsyncClient(address, credentials=Credentials(api_key=key)) as client,
    ):
        assert await client.voices()


async def test_a_key_is_not_sent_to_another_machine_in_the_clear() -> None:
    result = await _atelier("--api-key", "secret", "voices", "--server", "192.0.2.1:1")
    assert result.exit_code == 2
    assert "over TLS only" in result.output
