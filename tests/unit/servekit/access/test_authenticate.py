from pathlib import Path

import pytest

from servekit.access.authenticate import ByCallersFile
from servekit.access.credentials import Certificate, Credentials
from servekit.errors import Unauthenticated
from servekit.testing import ManualClock

_SHOWN = Credentials(certificate=Certificate(("router.example",), 0x0AF3, expires_at=100.0))


async def test_a_certificate_that_expires_while_its_connection_lasts_is_refused(tmp_path: Path) -> None:
    file, now = tmp_path / "callers.toml", 99.0
    file.write_text('[[caller]]\nname = "router"\nidentities = ["router.example"]')
    authenticate = ByCallersFile(file, ManualClock(), now=lambda: now)
    identity = await authenticate(_SHOWN)
    assert (identity.caller.name, identity.credential) == ("router", "certificate 0AF3")
    now = 101.0
    with pytest.raises(Unauthenticated, match="expired since") as caught:
        await authenticate(_SHOWN)
    assert caught.value.metadata()["cause"] == "expired"


async def test_new_rules_for_tokens_that_are_wrong_leave_the_callers_as_they_were(tmp_path: Path) -> None:
    file, clock = tmp_path / "callers.toml", ManualClock()
    caller = '[[caller]]\nname = "router"\nidentities = ["router.example"]\n'
    file.write_text(caller)
    authenticate = ByCallersFile(file, clock, now=lambda: 0.0)
    file.write_text(f'{caller}[tokens]\nissuer = "https://id.example"\naudience = "a"\nkeys = "/there/is/none"')
    clock.advance(1.0)
    assert (await authenticate(_SHOWN)).caller.name == "router"
    assert authenticate.watched.stale
