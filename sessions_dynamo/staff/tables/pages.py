"""Both tables as they stand, what differs from what is declared, and the button that brings them there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.contrib.admin.models import ADDITION, CHANGE
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse

from sessions_dynamo.client import dynamodb
from sessions_dynamo.conf import conf
from sessions_dynamo.errors import AccessDenied, StorageError, StorageUnavailable, TableMissing
from sessions_dynamo.models import Table
from sessions_dynamo.staff import shell
from sessions_dynamo.staff.outcomes import Line, lines, noteworthy, others
from sessions_dynamo.tables import setup
from sessions_dynamo.tables.describing import describe, describe_table
from sessions_dynamo.tables.descriptions import IndexDescription, TableDescription
from sessions_dynamo.tables.desired import Desired, InvalidDeclaration, declared
from sessions_dynamo.tables.names import named_tables
from sessions_dynamo.tables.plans import TABLE, TablePlan
from sessions_dynamo.tables.steps import Outcome, Step

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from sessions_dynamo.tables.names import NamedTable

BUSY_SECONDS: Final = 4
"""Between two looks while AWS is at work on a table."""
LOCKED_SECONDS: Final = 60
"""Between two looks while something only has to wait, such as Time to Live after a change."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One table of the page. ``plan`` is ``None`` where no plan could be made, and ``problem`` says why."""

    table: NamedTable
    live: TableDescription | None
    plan: TablePlan | None
    problem: str = ""

    @property
    def drift(self) -> list[Line]:
        """What is not as declared."""
        return noteworthy(self.aspects)

    @property
    def others(self) -> list[Line]:
        """What is as declared, so far as the engine can be."""
        return others(self.aspects)

    @property
    def aspects(self) -> list[Line]:
        return lines(self.plan.changes) if self.plan else []

    @property
    def is_missing(self) -> bool:
        return self.plan is not None and self.plan.live is None and self.plan.changes[0].outcome is Outcome.CREATE

    @property
    def indexes(self) -> Sequence[IndexDescription]:
        return sorted(self.live.indexes, key=lambda index: index.name) if self.live else ()

    def unread(self, answer: str) -> str:
        """Why a part of the description is not there."""
        reason = self.live.unanswered.get(answer) if self.live else None
        return str(reason) if reason else ""

    @property
    def no_time_to_live(self) -> str:
        return self.unread("time_to_live")

    @property
    def no_recovery(self) -> str:
        return self.unread("point_in_time_recovery")

    @property
    def no_tags(self) -> str:
        return self.unread("tags")


@shell.page("view_session")
def page(request: HttpRequest) -> HttpResponse:
    return _show(request, "Tables", {})


@shell.page("manage_tables")
def converge(request: HttpRequest) -> HttpResponse:
    """Ask with the plan, then do what ``dynamodb_setup`` does, without waiting for AWS; a POST shows what became."""
    client = dynamodb(quick=request.method != "POST")
    plans = setup.plan(client=client)
    seen, digest = request.POST.get("plan"), _digest(plans)
    confirmed = request.method == "POST" and request.POST.get("confirmed") == "yes"
    to_do = any(planned.to_do for planned in plans if not planned.blocked)
    if not confirmed or seen != digest or not to_do:
        context = {
            "plans": [Shown(planned.table, planned.live, planned) for planned in plans],
            "changed": [planned.table.name for planned in plans if planned.to_do and not planned.blocked],
            "digest": digest,
            "has_changed": confirmed and seen != digest,
            "has_work": to_do,
            "back": reverse("mcp_staff:tables"),
        }
        return shell.render(request, "sessions_dynamo/tables/plan.html", context, title="Converge the tables")
    steps: list[Step] = []
    try:
        setup.apply(plans, client=client, patience=0, report=lambda step: _note(request, step, steps))
    except StorageError as exc:
        failure = f"{exc} What was done until then stands, and is below; the rest was left."
    else:
        failure = ""
    became = lines(steps)
    context = {
        "became": noteworthy(became),
        "stayed": others(became),
        "failure": failure,
        "is_pending": any(step.outcome is Outcome.PENDING for step in steps),
    }
    return _show(request, "Converging the tables", context)


def _note(request: HttpRequest, step: Step, steps: list[Step]) -> None:
    """Keep a step, and the record of it at once: the next one may fail."""
    steps.append(step)
    if step.outcome in (Outcome.CREATED, Outcome.CHANGED, Outcome.DELETED):
        flag = ADDITION if (step.aspect, step.outcome) == (TABLE, Outcome.CREATED) else CHANGE
        shell.record(request, Table, step.table, flag, f"{step.aspect} {step.outcome}: {step.detail}".rstrip(": "))


def _digest(plans: Iterable[TablePlan]) -> str:
    """What tells a plan from another: the one that is confirmed is the one that was read."""
    told = repr([planned.as_dict() for planned in plans])
    return hashlib.sha256(told.encode()).hexdigest()[:32]


# --- What is shown --------------------------------------------------------------------------------------------


def _show(request: HttpRequest, title: str, context: dict[str, Any]) -> HttpResponse:
    shown, invalid = _read(dynamodb(quick=True))
    busy = any(one.live.unsettled for one in shown if one.live)
    waits = any(line.outcome is Outcome.PENDING for one in shown for line in one.aspects)
    context = {
        "tables": shown,
        "invalid": invalid,
        "missing": [one.table.name for one in shown if one.is_missing],
        "drift": [line for one in shown for line in one.drift],
        "has_work": not invalid and any(one.plan and one.plan.to_do and not one.plan.blocked for one in shown),
        "is_known": not invalid and all(one.plan for one in shown),
        "is_busy": busy,
        "every": BUSY_SECONDS if busy else LOCKED_SECONDS if waits else 0,
        "live_url": reverse("mcp_staff:tables"),
        "region": dynamodb().meta.region_name,
        "endpoint": dynamodb().meta.endpoint_url,
        **context,
    }
    return shell.render(request, "sessions_dynamo/tables/page.html", context, title=title)


def _read(client: DynamoDBClient) -> tuple[list[Shown], str]:
    """Both tables with their plans, and what is wrong with the declarations in the environment, if anything."""
    both = named_tables()
    with suppress(TableMissing, AccessDenied):
        # Whether DynamoDB answers at all; of what fails below, the rest can still be shown then.
        describe_table(client, both[0].name)
    try:
        desired, invalid = declared(), ""
    except InvalidDeclaration as exc:
        desired, invalid = Desired(conf.ENVIRONMENT), str(exc)
    return [_look(table, desired, client) for table in both], invalid


def _look(table: NamedTable, desired: Desired, client: DynamoDBClient) -> Shown:
    try:
        (planned,) = setup.plan([table], client=client, desired=desired)
    except StorageUnavailable as exc:
        # Such as Application Auto Scaling, which a network with DynamoDB's endpoint alone does not reach.
        return Shown(table, describe(table.name, client), None, str(exc))
    return Shown(table, planned.live, planned)


urlpatterns = [
    path("tables/", page, name="tables"),
    path("tables/converge/", converge, name="tables-converge"),
]
