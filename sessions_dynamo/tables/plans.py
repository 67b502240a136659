"""One table's plan: what stands, read once, beside what is wanted, aspect by aspect. Nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sessions_dynamo import schema
from sessions_dynamo.errors import AccessDenied, TableMissing
from sessions_dynamo.tables.aspects import (
    billing,
    creation,
    encryption,
    indexes,
    protection,
    recovery,
    replica_settings,
    replicas,
    scaling,
    stream,
    tags,
    time_to_live,
)
from sessions_dynamo.tables.aspects.change import RUN_AGAIN, Change, Planner, Subject
from sessions_dynamo.tables.describing import describe
from sessions_dynamo.tables.descriptions import TableDescription
from sessions_dynamo.tables.desired import Desired
from sessions_dynamo.tables.names import NamedTable
from sessions_dynamo.tables.steps import Outcome

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TABLE: Final = "table"
TO_DO: Final = (Outcome.CREATE, Outcome.CHANGE)

_USABLE: Final = ("ACTIVE", "CREATING", "UPDATING")
_AS_WANTED: Final = (Outcome.UNCHANGED, Outcome.UNSUPPORTED)

# What is quick comes before what may take hours: a slow index keeps nothing from its TTL. Autoscaling needs the
# indexes, and replicas of a provisioned table need autoscaling.
_PLANNERS: Final[tuple[tuple[str, Planner], ...]] = (
    (billing.ASPECT, billing.plan),
    (stream.ASPECT, stream.plan),
    (time_to_live.ASPECT, time_to_live.plan),
    (tags.ASPECT, tags.plan),
    (recovery.ASPECT, recovery.plan),
    (encryption.ASPECT, encryption.plan),
    ("indexes", indexes.plan),
    # Behind every other UpdateTable: DynamoDB Local forgets it at each.
    (protection.ASPECT, protection.plan),
    (scaling.ASPECT, scaling.plan),
    ("replicas", replicas.plan),
    ("replicas", replica_settings.plan),
)


@dataclass(frozen=True, slots=True)
class TablePlan:
    """What setup will do to one table; ``live`` is ``None`` where none stands or none may be looked at."""

    table: NamedTable
    live: TableDescription | None
    changes: tuple[Change, ...]
    desired: Desired

    @property
    def is_converged(self) -> bool:
        """Whether the table is as wanted, so far as its engine can be."""
        return all(change.outcome in _AS_WANTED for change in self.changes)

    @property
    def to_do(self) -> tuple[Change, ...]:
        """The changes that setup would make."""
        return tuple(change for change in self.changes if change.outcome in TO_DO)

    @property
    def blocked(self) -> tuple[Change, ...]:
        """What cannot be changed; then setup changes nothing of the table."""
        return tuple(change for change in self.changes if change.outcome is Outcome.CANNOT_CHANGE)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "table": self.table.name,
            "converged": self.is_converged,
            "changes": [
                {"aspect": change.aspect, "outcome": str(change.outcome), "detail": change.detail}
                for change in self.changes
            ],
        }


def plan_table(table: NamedTable, desired: Desired, client: DynamoDBClient) -> TablePlan:
    """Read what stands under the table's name and say what must change.

    A missing permission costs its aspect alone, which is ``denied`` then. Raises what else AWS answers.
    """
    try:
        live = describe(table.name, client)
    except TableMissing:
        live = None
    except AccessDenied as exc:
        return TablePlan(table, None, (Change(TABLE, Outcome.DENIED, str(exc)),), desired)
    subject = Subject(table, live, desired, client)
    head = _plan_itself(subject)
    if head.outcome not in (Outcome.CREATE, Outcome.UNCHANGED):
        return TablePlan(table, live, (head,), desired)
    changes = [head]
    for aspect, planner in _ordered(desired):
        try:
            changes += planner(subject)
        except AccessDenied as exc:
            changes.append(Change(aspect, Outcome.DENIED, str(exc)))
    return TablePlan(table, live, tuple(changes), desired)


def _plan_itself(subject: Subject) -> Change:
    live, declared = subject.live, subject.table.schema
    if live is None:
        return Change(TABLE, Outcome.CREATE, indexes.keys_detail(declared.keys), partial(creation.create, subject))
    if live.keys != declared.keys:
        return Change(TABLE, Outcome.CANNOT_CHANGE, other_keys(subject.table, live.keys))
    if live.status == "DELETING":
        return Change(TABLE, Outcome.PENDING, f"it is being deleted: {RUN_AGAIN} when it is gone")
    if live.status not in _USABLE:
        return Change(TABLE, Outcome.CANNOT_CHANGE, f"it is {live.status}: it can be neither used nor changed now.")
    return Change(TABLE, Outcome.UNCHANGED, f"{live.status}, {indexes.keys_detail(live.keys)}")


def other_keys(table: NamedTable, keys: tuple[schema.Key, ...]) -> str:
    """Why a table with these keys can never serve, and what to do."""
    return (
        f"Table {table.name} exists with the {indexes.keys_detail(keys)}, but this service needs the"
        f" {indexes.keys_detail(table.schema.keys)}. A key cannot be changed: choose another name"
        " (DYNAMODB_SESSIONS_TABLE, DYNAMODB_EVENTS_TABLE), or delete that table if nothing uses it."
    )


def _ordered(desired: Desired) -> list[tuple[str, Planner]]:
    """The planners in the order in which their changes are made."""
    planners = list(_PLANNERS)
    if desired.billing and not desired.billing.scaling:
        # Autoscaling ends before the capacity that it would move is gone or fixed.
        planners.remove((scaling.ASPECT, scaling.plan))
        planners.insert(0, (scaling.ASPECT, scaling.plan))
    return planners
