"""The four real processes, of which none believes anybody: mutual TLS everywhere, and keys for those who call the
router. The callers file behind it is the one that a cluster gets."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from atelier_client import Credentials
from deploy.local.studio import SERVICES, Studio
from servekit.channels import Link
from servekit.keys import new_key
from tests.authority import Authority

BEHIND = Path(__file__).parents[1] / "deploy" / "k8s" / "components" / "mtls" / "callers.toml"
PREFIXES = {name: f"ATELIER_{name.removesuffix('_llm').upper()}" for name in SERVICES}


@dataclass(frozen=True)
class Secured:
    """A studio, who vouches for its certificates, and what `ann` shows to be let in."""

    studio: Studio
    authority: Authority
    ann: Credentials


@asynccontextmanager
async def secured(folder: Path) -> AsyncIterator[Secured]:
    """Run such a studio inside the block; logs go to `folder`."""
    authority, (key, stored) = Authority(folder / "authority"), new_key()
    front = folder / "callers.toml"
    front.write_text(f'[[caller]]\nname = "ann"\nkeys = ["{stored.text}"]\n')
    environment = dict(_settings(authority, front))
    watchman, ann = authority.issue("watchman"), authority.issue("ann")
    link = Link(authority.file, watchman.cert, watchman.key)
    async with Studio(folder / "logs", environment=environment, link=link) as studio:
        yield Secured(studio, authority, Credentials(key, ca_file=authority.file, cert_file=ann.cert, key_file=ann.key))


def _settings(authority: Authority, front: Path) -> Iterator[tuple[str, str]]:
    for name, prefix in PREFIXES.items():
        pair = authority.issue(name, f"DNS:{name}", "IP:127.0.0.1")
        yield f"{prefix}_TLS_CERT_FILE", str(pair.cert)
        yield f"{prefix}_TLS_KEY_FILE", str(pair.key)
        yield f"{prefix}_TLS_CLIENT_CA_FILE", str(authority.file)
        yield f"{prefix}_CALLERS_FILE", str(front if name == "router" else BEHIND)
    for name in ("router", "imagegen"):
        yield f"{PREFIXES[name]}_BACKEND_CA_FILE", str(authority.file)
