"""Who gets a picture out of the four real processes when each of them wants to know who calls."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from atelier_client import AsyncClient, AtelierError, Credentials
from servekit.keys import new_key
from tests.authority import Authority
from tests.e2e.metrics import scrape
from tests.secured import Secured, secured

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROMPT = "a serene landscape with mountains and a lake at sunset"
DAY = timedelta(days=1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secured]:
    async with secured(tmp_path_factory.mktemp("secured")) as running:
        yield running


async def refusal(address: str, credentials: Credentials) -> AtelierError:
    """Ask for a picture that is not to be had; return what was said instead."""
    async with AsyncClient(address, timeout=20, credentials=credentials) as client:
        with pytest.raises(AtelierError) as caught:
            await client.image(PROMPT, steps=2)
    return caught.value


def callers(guarded: Secured, service: str) -> set[str]:
    """Return for whom the methods of a service were called, by its log."""
    lines = map(json.loads, (guarded.studio.log_dir / f"{service}.log").read_text().splitlines())
    return {line["caller"] for line in lines if line.get("method", "").startswith("/atelier.")}


async def test_who_shows_certificate_and_key_gets_picture_and_speech(guarded: Secured) -> None:
    async with AsyncClient(guarded.studio.address, credentials=guarded.ann) as client:
        made = await client.image(PROMPT, seed=7, steps=2)
        spoken = await client.say("Good evening.")
    assert made.pictures[0].data.startswith(b"\x89PNG")
    assert made.routed is not None and not made.routed.degraded, "rewrite_llm was not reached"
    assert spoken.data.startswith(b"RIFF")


async def test_the_servers_behind_learn_who_asked_and_see_no_key(guarded: Secured) -> None:
    async with AsyncClient(guarded.studio.address, credentials=guarded.ann) as client:
        await client.image(PROMPT, steps=2)
    for service in ("imagegen", "rewrite_llm"):
        assert "ann" in callers(guarded, service)
        assert guarded.ann.api_key not in (guarded.studio.log_dir / f"{service}.log").read_text()


@pytest.mark.parametrize("key", ["", "not a key", new_key()[0]], ids=["none", "nonsense", "unknown"])
async def test_a_certificate_without_a_known_key_is_told_so(guarded: Secured, key: str) -> None:
    error = await refusal(guarded.studio.address, replace(guarded.ann, api_key=key))
    assert (error.code, error.reason) == ("UNAUTHENTICATED", "UNAUTHENTICATED")


@pytest.mark.parametrize("flaw", ["in the clear", "none", "expired", "of another authority"])
async def test_a_key_is_worth_nothing_without_a_good_certificate(guarded: Secured, flaw: str, tmp_path: Path) -> None:
    old = guarded.authority.issue("old", begin=datetime.now(UTC) - 2 * DAY, life=DAY)
    foreign = Authority(tmp_path).issue("ann")
    wrong = {
        "in the clear": Credentials(guarded.ann.api_key),
        "none": replace(guarded.ann, cert_file=None, key_file=None),
        "expired": replace(guarded.ann, cert_file=old.cert, key_file=old.key),
        "of another authority": replace(guarded.ann, cert_file=foreign.cert, key_file=foreign.key),
    }
    assert (await refusal(guarded.studio.address, wrong[flaw])).code == "UNAVAILABLE"


async def test_nobody_gets_past_the_router(guarded: Secured) -> None:
    error = await refusal(guarded.studio.services["imagegen"].address, guarded.ann)
    assert error.code == "UNAUTHENTICATED"


async def test_a_server_of_another_authority_gets_no_key(guarded: Secured, tmp_path: Path) -> None:
    suspicious = replace(guarded.ann, ca_file=Authority(tmp_path).file)
    assert (await refusal(guarded.studio.address, suspicious)).code == "UNAVAILABLE"


async def test_refusals_are_counted_by_cause(guarded: Secured) -> None:
    await refusal(guarded.studio.address, replace(guarded.ann, api_key=new_key()[0]))
    page = await scrape(guarded.studio, "router")
    counts = {line.split()[0]: float(line.split()[1]) for line in page.splitlines() if "refused_total{" in line}
    assert counts['servekit_refused_total{cause="key"}'] >= 1
    assert counts['servekit_refused_total{cause="rate_limited"}'] == 0
