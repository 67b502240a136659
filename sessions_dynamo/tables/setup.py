"""Both tables: plan them, create them, and bring them to what ``schema.py`` and the environment declare.

Convergence is reading what stands, planning the changes, and applying them; a second run finds nothing to do. Every
function takes the client of the region that it shall work in; by default the service's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from sessions_dynamo.client import dynamodb
from sessions_dynamo.errors import AccessDenied, StorageUnavailable
from sessions_dynamo.tables.convergence import converge
from sessions_dynamo.tables.describing import (
    describe_table,
    to_description,
)
from sessions_dynamo.tables.desired import Desired, declared
from sessions_dynamo.tables.names import NamedTable, named_tables
from sessions_dynamo.tables.plans import TablePlan, other_keys, plan_table
from sessions_dynamo.tables.steps import Outcome, Report, Step, carried_out
from sessions_dynamo.tables.waiting import PATIENCE, Progress

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_SERVING: Final = ("ACTIVE", "UPDATING")


class CannotChange(StorageUnavailable):
    """A table has what no request can change, such as other keys than this service needs."""


def reachable(client: DynamoDBClient | None = None) -> None:
    """Return if both tables can serve, in two requests; else raise ``StorageUnavailable`` with the reason.

    A table that is ``UPDATING`` serves as before; one that lacks an index serves what needs no index.
    """
    client = client or dynamodb()
    for table in named_tables():
        found = describe_table(client, table.name)
        if found["TableStatus"] not in _SERVING:
            raise StorageUnavailable(f"Table {table.name} is {found['TableStatus']}, not ACTIVE.")
        keys = to_description(client, found).keys
        if keys != table.schema.keys:
            raise CannotChange(other_keys(table, keys))


def plan(
    tables: Iterable[NamedTable] | None = None,
    *,
    client: DynamoDBClient | None = None,
    desired: Desired | None = None,
) -> tuple[TablePlan, ...]:
    """Read what stands and say what must change; nothing is written. ``desired`` is by default what is declared.

    Drift, what cannot be changed and a missing permission are part of a plan; what else AWS answers is raised.
    """
    client, desired = client or dynamodb(), desired or declared()
    return tuple(plan_table(table, desired, client) for table in tables or named_tables())


def apply(
    plans: Iterable[TablePlan],
    *,
    client: DynamoDBClient | None = None,
    patience: float = PATIENCE,
    report: Report | None = None,
    progress: Progress | None = None,
) -> list[Step]:
    """Carry out plans and return what became of every aspect; ``report`` hears each step as it is done.

    Waits up to ``patience`` seconds for each change; what does not become ready in time, or is locked by AWS for a
    while, is ``pending``. One table after the other: AWS creates one table with indexes at a time. ``refusals`` of
    the steps are what no further run mends by itself.
    """
    client = client or dynamodb()
    steps = (step for planned in plans for step in converge(planned, client, patience=patience, progress=progress))
    return carried_out(steps, report)


def ensure_tables(
    tables: Iterable[NamedTable] | None = None,
    *,
    client: DynamoDBClient | None = None,
    desired: Desired | None = None,
    patience: float = PATIENCE,
    report: Report | None = None,
) -> list[Step]:
    """Make the tables as declared; what already is so stays untouched.

    Raises ``CannotChange`` before anything is written, and ``AccessDenied`` once all that may be done is.
    """
    plans = plan(tables, client=client, desired=desired)
    if blocked := [change.detail for planned in plans for change in planned.blocked]:
        raise CannotChange(" ".join(blocked))
    return _unless_denied(apply(plans, client=client, patience=patience, report=report))


def create_missing(*, client: DynamoDBClient | None = None, report: Report | None = None) -> list[Step]:
    """Create the tables that do not exist; an existing one, whatever it lacks, stays untouched.

    Raises ``AccessDenied`` once all that may be done is.
    """
    plans = [planned for planned in plan(client=client) if planned.live is None]
    return _unless_denied(apply(plans, client=client, report=report))


def _unless_denied(steps: list[Step]) -> list[Step]:
    if denied := [step.detail for step in steps if step.outcome is Outcome.DENIED]:
        raise AccessDenied(" ".join(dict.fromkeys(denied)))
    return steps
