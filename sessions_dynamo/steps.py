"""What the commands on tables did, aspect by aspect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What became of one aspect of a table."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    UNSUPPORTED = "unsupported"
    PENDING = "pending"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Step:
    """One aspect of one table (``table``, ``index <name>``, ``stream``, ``ttl``, ``tags``) after a command."""

    table: str
    aspect: str
    outcome: Outcome
    detail: str = ""


Report = Callable[[Step], None]
