"""Restores: the plan and its confirmation, and the page that follows the new tables until they can serve."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.contrib import messages
from django.contrib.admin.models import ADDITION, CHANGE
from django.http import HttpRequest, HttpResponse, QueryDict
from django.urls import path, reverse

from sessions_dynamo import schema
from sessions_dynamo.backups import jobs, on_demand, restores
from sessions_dynamo.backups.descriptions import BackupNotFound
from sessions_dynamo.backups.jobs import Job, Lacking
from sessions_dynamo.backups.restores import RestorePlan, RestoreRefused, Source
from sessions_dynamo.client import dynamodb
from sessions_dynamo.errors import StorageError, TableMissing
from sessions_dynamo.models import Table
from sessions_dynamo.staff import shell
from sessions_dynamo.staff.outcomes import Line, lines, noteworthy
from sessions_dynamo.tables import convergence
from sessions_dynamo.tables.names import named_tables
from sessions_dynamo.tables.plans import TABLE
from sessions_dynamo.tables.steps import Outcome, Step

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from sessions_dynamo.tables.names import NamedTable

EVERY_SECONDS: Final = 5
"""Between two looks at a restore on its way."""
RETRY_SECONDS: Final = 15
"""After a look, or a try to complete it, that failed."""
MAX_TABLES: Final = 2
MAX_REMEMBERED: Final = 10

_BEGUN: Final = "restores"
"""Of the login session: new tables whose restore this person confirmed, and which this page may complete unasked."""


# --- Plan and begin -------------------------------------------------------------------------------------------


@shell.page("manage_backups")
def restore(request: HttpRequest) -> HttpResponse:
    """Show what a restore will do, under which names; the POST that confirms it begins it, and waits for nothing."""
    given = request.POST if request.method == "POST" else request.GET
    confirmed = request.method == "POST" and given.get("confirmed") == "yes"
    client, both, back = dynamodb(quick=not confirmed), named_tables(), reverse("mcp_staff:backups")
    problem, sources, plans = "", [], []
    try:
        sources = _sources(given, both, client)
        plans = _plans(given, sources, client)
    except (RestoreRefused, BackupNotFound) as exc:
        problem = str(exc)
    if problem and not sources:
        remedy = "Choose what to restore on the backups page."
        return shell.problem(request, "That cannot be restored", problem, remedy=remedy)
    if problem or not confirmed:
        context = {
            "problem": problem,
            "plans": plans,
            "wanted": [(name, given[name]) for name in ("set", "backup", "at", "table") if given.get(name)],
            "names": [(source.table.name, _target_field(source), _target(given, source)) for source in sources],
            "back": back,
        }
        status = 400 if problem else 200
        return shell.render(
            request, "sessions_dynamo/backups/restore.html", context, title="Restore to new tables", status=status
        )
    begun: list[str] = []
    refused: list[Step] = []

    def note(step: Step) -> None:
        _record(request, step, f"from {of[step.table]}")
        if step.aspect == TABLE and step.outcome is not Outcome.PENDING:
            begun.append(step.table)
        elif step.aspect == TABLE and step.table not in begun:
            refused.append(step)

    of = {planned.target.name: planned.source for planned in plans}
    try:
        restores.apply(plans, client=client, patience=0, report=note)
    except StorageError as exc:
        if not begun:
            raise
        messages.error(request, f"{exc} What was begun goes on, and is shown here.")
    for step in refused:
        messages.warning(request, f"{step.table} was not begun. {step.detail} Try again in some minutes.")
    _remember(request, begun)
    if not begun:
        return shell.done(request, "Nothing was begun yet.", back, level=messages.WARNING)
    return shell.done(request, f"AWS restores {' and '.join(begun)}.", url_of(begun))


def _plans(given: QueryDict, sources: Sequence[Source], client: DynamoDBClient) -> list[RestorePlan]:
    """All plans before the first write: neither table is restored when one cannot be."""
    plans = [restores.plan(source, _target(given, source), client=client) for source in sources]
    if len({planned.target.name for planned in plans}) < len(plans):
        raise RestoreRefused(f"Both tables cannot be named {plans[0].target.name}.")
    return plans


def _sources(given: QueryDict, both: Sequence[NamedTable], client: DynamoDBClient) -> list[Source]:
    if arn := given.get("backup", ""):
        if not arn.startswith("arn:"):
            raise BackupNotFound(f"{arn[:300]!r} is no backup's ARN.")
        return [restores.from_backup(on_demand.describe(arn, client=client).backup, client=client)]
    if when := given.get("at", "").strip():
        at = None if when == "latest" else restores.parse_time(when)
        names = [table.name for table in both]
        if chosen := given.get("table", ""):
            if chosen not in names:
                raise RestoreRefused(f"{chosen[:300]!r} is neither the sessions nor the events table.")
            names = [chosen]
        return [restores.point_in_time(name, at, client=client) for name in names]
    if stamp := given.get("set", ""):
        for found in on_demand.sets(both, client=client):
            if found.stamp == stamp and found.complete:
                return [restores.from_backup(backup, client=client) for backup in found.backups]
        raise RestoreRefused(f"There is no complete set of backups {stamp[:100]!r}.")
    raise RestoreRefused("Nothing is named to restore: a set of backups, a backup, or a time.")


def _target_field(source: Source) -> str:
    return "sessions_to" if source.table.schema == schema.SESSIONS else "events_to"


def _target(given: QueryDict, source: Source) -> str:
    return given.get(_target_field(source), "").strip() or source.default_target


# --- Follow and complete --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Followed:
    """One restored table of the page. ``lacking`` is read only when a page is about this table alone."""

    name: str
    job: Job | None
    lacking: Lacking | None
    problem: str
    goes_on: bool
    """Whether the page completes it unasked, because this person confirmed the restore."""

    @property
    def part_id(self) -> str:
        """The id of its part of the page; a table's name may have dots."""
        return f"restored-{zlib.crc32(self.name.encode()):08x}"

    @property
    def url(self) -> str:
        """The page of this table alone."""
        return url_of([self.name])

    @property
    def rows(self) -> list[Line]:
        return lines(self.lacking.changes) if self.lacking else []

    @property
    def left(self) -> list[Line]:
        """What is not yet as it shall be."""
        return noteworthy(self.rows)

    @property
    def trigger(self) -> str:
        """When htmx asks for this part again; empty once nothing changes by itself."""
        if self.job and self.job.is_ready and self.lacking is None:
            return f"load, every {RETRY_SECONDS}s"
        if self.job is None:
            waits = self.goes_on
        else:
            waits = not self.job.is_ready or bool(self.lacking and self.lacking.is_pending)
        return f"every {EVERY_SECONDS}s" if waits else ""


@shell.page("view_session")
def restored(request: HttpRequest) -> HttpResponse:
    """Restored tables, named in the URL: what AWS does, what is still to be made again, and how to switch over."""
    names = list(dict.fromkeys(name.strip() for name in request.GET.getlist("table") if name.strip()))[:MAX_TABLES]
    if not names:
        return shell.problem(request, "Which table?", "No table is named.", remedy="Choose one on the backups page.")
    client, both = dynamodb(quick=True), named_tables()
    mine = request.session.get(_BEGUN, []) if shell.may(request, "manage_backups") else []
    followed = [_follow(name, client, alone=len(names) == 1, mine=name in mine) for name in names]
    known = {one.job.table.schema: one.name for one in followed if one.job}
    context = {
        "followed": followed,
        "retry": RETRY_SECONDS,
        "variables": _environment(both, known),
        "is_serving": bool(known) and set(known.values()) <= {table.name for table in both},
        "back": reverse("mcp_staff:backups"),
    }
    return shell.render(request, "sessions_dynamo/backups/restored.html", context, title="Restored tables")


def _follow(name: str, client: DynamoDBClient, *, alone: bool, mine: bool) -> Followed:
    try:
        job = jobs.find(name, client=client)
    except TableMissing:
        text = f"There is no table {name}, or AWS does not show it yet."
        return Followed(name, None, None, text, mine)
    except RestoreRefused as exc:
        return Followed(name, None, None, str(exc), False)
    lacking = jobs.lacking(job, client=client) if alone and job.is_ready else None
    return Followed(name, job, lacking, "", mine)


@shell.page("manage_backups")
def complete(request: HttpRequest) -> HttpResponse:
    """Make again what AWS left out of a restored table, as far as that goes without waiting."""
    given = request.POST if request.method == "POST" else request.GET
    name = given.get("table", "").strip()
    if not name:
        return shell.problem(request, "Which table?", "No table is named.", remedy="Choose one on the backups page.")
    answer = shell.ask(
        request,
        title="Complete a restore",
        question=f"Make again on {name} what AWS left out of its restore?",
        consequences="Its stream, Time to Live and tags, and what its source has besides. Its items stay as they are.",
        button="Complete the restore",
        back=url_of([name]),
        fields={"table": name},
        danger=False,
    )
    if answer is not None:
        return answer
    job = jobs.find(name)
    if not job.is_ready:
        return shell.done(request, f"AWS is still restoring {name}.", url_of([name]), level=messages.INFO)
    try:
        steps = jobs.complete(job, report=lambda step: _record(request, step, ""))
    except StorageError:
        _forget(request, name)
        raise
    refused = convergence.refusals(steps)
    if refused:
        _forget(request, name)
        problems = " ".join(f"{step.aspect}: {step.detail}" for step in refused)
        return shell.done(
            request, f"Not all of {name} could be made again. {problems}", url_of([name]), level=messages.ERROR
        )
    made = [step.aspect for step in steps if step.outcome in (Outcome.CREATED, Outcome.CHANGED)]
    text = f"Made again on {name}: {', '.join(made)}." if made else f"Nothing of {name} could be made again yet."
    return shell.done(request, text, url_of([name]), level=messages.SUCCESS if made else messages.INFO)


def _record(request: HttpRequest, step: Step, source: str) -> None:
    """The admin log's entry of a step that changed something, as soon as it is done."""
    if step.outcome in (Outcome.CREATED, Outcome.CHANGED):
        is_new = step.aspect == TABLE
        what = f"Restored {source}." if is_new else f"{step.aspect} {step.outcome}: {step.detail}".rstrip(": ")
        shell.record(request, Table, step.table, ADDITION if is_new else CHANGE, what)


def _remember(request: HttpRequest, names: Sequence[str]) -> None:
    kept = dict.fromkeys([*names, *request.session.get(_BEGUN, [])])
    request.session[_BEGUN] = list(kept)[:MAX_REMEMBERED]


def _forget(request: HttpRequest, name: str) -> None:
    """A restore that was refused something waits for a person."""
    request.session[_BEGUN] = [kept for kept in request.session.get(_BEGUN, []) if kept != name]


def url_of(names: Sequence[str]) -> str:
    """The page that follows restored tables."""
    query = QueryDict(mutable=True)
    query.setlist("table", list(names))
    return f"{reverse('mcp_staff:backups-restored')}?{query.urlencode()}"


def _environment(both: Sequence[NamedTable], restored: dict[schema.Table, str]) -> list[tuple[str, str]]:
    """What the service must be told to serve the restored tables; a table that was not restored keeps its name."""
    variables = ("DYNAMODB_SESSIONS_TABLE", "DYNAMODB_EVENTS_TABLE")
    return [(name, restored.get(table.schema, table.name)) for name, table in zip(variables, both, strict=True)]


urlpatterns = [
    path("backups/restore/", restore, name="backups-restore"),
    path("backups/restored/", restored, name="backups-restored"),
    path("backups/complete/", complete, name="backups-complete"),
]
