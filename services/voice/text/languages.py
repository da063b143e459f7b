"""What is known of each language's abbreviations, from `languages.toml`."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

ANY = "any"
LONGEST_TAG = 35
"""Characters of a BCP 47 tag that everybody has to take (RFC 5646, section 4.4.1)."""
_TAG = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*")


@dataclass(frozen=True, slots=True)
class Language:
    """The habits of one language; see the head of `languages.toml`."""

    never: frozenset[str] = frozenset()
    may_end: frozenset[str] = frozenset()
    ordinals: bool = False
    expand: Mapping[str, str] = field(default_factory=dict)
    reads: str = ""


class Languages:
    """Languages by tag."""

    def __init__(self, known: Mapping[str, Language], fallback: Language) -> None:
        self._known = known
        self._fallback = fallback

    def of(self, tag: str) -> Language:
        """Return the language of a BCP 47 tag by its primary part, or the habits common to all."""
        return self._known.get(tag.lower().partition("-")[0], self._fallback)


def load() -> Languages:
    """Read the shipped file."""
    tables = tomllib.loads(resources.files(__package__).joinpath("languages.toml").read_text(encoding="utf-8"))
    common = tables.pop(ANY)
    return Languages({tag: _language(common, table) for tag, table in tables.items()}, _language(common, {}))


def _language(common: Mapping[str, Any], own: Mapping[str, Any]) -> Language:
    own_never, own_may_end = frozenset(own.get("never", ())), frozenset(own.get("may_end", ()))
    return Language(
        never=(frozenset(common["never"]) - own_may_end) | own_never,
        may_end=(frozenset(common["may_end"]) - own_never) | own_may_end,
        ordinals=own.get("ordinals", False),
        expand=own.get("expand", {}),
        reads=own.get("reads", ""),
    )


def is_tag(text: str) -> bool:
    """Tell whether a text looks like a BCP 47 tag."""
    return len(text) <= LONGEST_TAG and _TAG.fullmatch(text) is not None
