"""What every aspect is planned from, and what planning it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sessions_dynamo.errors import AccessDenied, Unsupported
from sessions_dynamo.tables.descriptions import TableDescription
from sessions_dynamo.tables.desired import Desired
from sessions_dynamo.tables.names import NamedTable
from sessions_dynamo.tables.steps import Outcome

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

RUN_AGAIN: Final = "run 'manage.py dynamodb_setup' again"


@dataclass(frozen=True, slots=True)
class Subject:
    """A declared table, what stands under its name (``None``: nothing yet), and what is wanted of it."""

    table: NamedTable
    live: TableDescription | None
    desired: Desired
    client: DynamoDBClient

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def region(self) -> str:
        return self.client.meta.region_name


@dataclass(frozen=True, slots=True)
class Change:
    """How one aspect differs from what is wanted. ``apply`` makes it so; ``None`` where nothing is to be sent."""

    aspect: str
    outcome: Outcome
    detail: str = ""
    apply: Callable[[DynamoDBClient], object] | None = None


Planner = Callable[[Subject], Iterable[Change]]


def unread(aspect: str, live: TableDescription, answer: str, *, wanted: bool = True) -> Change:
    """The change for an aspect that could not be read; what nobody wants changed is left without a complaint."""
    reason = live.unanswered.get(answer)
    if isinstance(reason, Unsupported):
        return Change(aspect, Outcome.UNSUPPORTED, str(reason))
    if isinstance(reason, AccessDenied):
        if wanted:
            return Change(aspect, Outcome.DENIED, str(reason))
        return Change(aspect, Outcome.UNCHANGED, f"not read. {reason}")
    return Change(aspect, Outcome.PENDING, f"the table is {live.status}: {RUN_AGAIN}")


def on_off(on: bool) -> str:
    return "on" if on else "off"
