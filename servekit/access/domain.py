"""Callers and what they may do."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypeAlias, get_args

Priority: TypeAlias = Literal["low", "normal", "high"]
PRIORITIES: tuple[Priority, ...] = get_args(Priority)


class Role(StrEnum):
    """What a caller may be allowed to be; see `atelier.common.v1.Role`."""

    USER = "user"
    CLONER = "cloner"
    OPERATOR = "operator"


ALL_ROLES = frozenset(Role)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a caller may ask for; None is no limit."""

    requests_per_second: float | None = None
    burst: int = 1
    """Calls that may come at once after a pause."""
    concurrent_calls: int | None = None
    priority: Priority | None = None
    """The highest priority that his requests get."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who proved who he is."""

    name: str
    roles: frozenset[Role] = ALL_ROLES
    limits: Limits = field(default_factory=Limits)
    speaks_for_others: bool = False
    """True for a service that calls for callers of its own, and is believed when it names them."""
