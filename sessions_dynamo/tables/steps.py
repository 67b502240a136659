"""What the commands on tables plan and do, aspect by aspect."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from sessions_dynamo.tables.describing import forget_descriptions


class Outcome(StrEnum):
    """What shall become (``create``, ``change``), or became, of one aspect of a table."""

    CREATE = "create"
    CHANGE = "change"
    CANNOT_CHANGE = "cannot change"
    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    UNSUPPORTED = "unsupported"
    PENDING = "pending"
    DENIED = "denied"
    DELETED = "deleted"

    @property
    def done(self) -> Outcome:
        """What a plan's outcome is called once it has been carried out."""
        return {Outcome.CREATE: Outcome.CREATED, Outcome.CHANGE: Outcome.CHANGED}.get(self, self)


@dataclass(frozen=True, slots=True)
class Step:
    """One aspect of one table (``table``, ``index <name>``, ``stream``, ``ttl``, ``tags`` …) after a command."""

    table: str
    aspect: str
    outcome: Outcome
    detail: str = ""


Report = Callable[[Step], None]


def carried_out(steps: Iterable[Step], report: Report | None = None) -> list[Step]:
    """Let steps be taken, to the end or to the first that raises; ``report`` hears of each as it is done.

    What was known of the tables is forgotten then.
    """
    done = []
    try:
        for step in steps:
            done.append(step)
            if report:
                report(step)
    finally:
        forget_descriptions()
    return done
