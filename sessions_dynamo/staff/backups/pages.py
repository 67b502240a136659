"""Backups of both tables and point-in-time recovery: what there is, made, deleted, and restored to new tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.contrib.admin.models import ADDITION, DELETION
from django.http import HttpRequest, HttpResponse, QueryDict
from django.urls import path, reverse

from sessions_dynamo.backups import jobs, on_demand, restores
from sessions_dynamo.backups.descriptions import Backup, BackupNotFound, BackupSet, backup_errors
from sessions_dynamo.backups.restore_sources import RESTORED, declared_table
from sessions_dynamo.client import dynamodb
from sessions_dynamo.errors import AccessDenied, StorageError, TableMissing, Unsupported
from sessions_dynamo.models import Backup as BackupRecord
from sessions_dynamo.staff import shell
from sessions_dynamo.staff.backups import restores as restore_pages
from sessions_dynamo.tables.describing import point_in_time_recovery
from sessions_dynamo.tables.descriptions import PointInTimeRecovery
from sessions_dynamo.tables.names import is_table_name, named_tables

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from sessions_dynamo.tables.names import NamedTable

EVERY_SECONDS: Final = 4
"""Between two looks while AWS makes a backup."""
MAX_RESTORED: Final = 10
"""Restores that are listed."""
MAX_AT_ONCE: Final = 10
"""Backups that one request deletes."""

_HERE: Final = (Unsupported, AccessDenied, TableMissing)
"""What a part of the page says in its place; with anything else, DynamoDB does not answer at all."""


@dataclass(frozen=True, slots=True)
class Window:
    """A table's point-in-time recovery; without it, ``problem`` says why it could not be read."""

    table: str
    recovery: PointInTimeRecovery | None
    problem: str = ""

    @property
    def is_on(self) -> bool:
        return self.recovery is not None and self.recovery.status == "ENABLED"


@dataclass(frozen=True, slots=True)
class Group:
    """Backups that are shown together: a set under its stamp, or one that is in none."""

    backups: tuple[Backup, ...]
    set: BackupSet | None = None

    @property
    def status(self) -> str:
        """Of all of them."""
        return next((backup.status for backup in self.backups if backup.status != "AVAILABLE"), "AVAILABLE")

    @property
    def is_daily(self) -> bool:
        """Whether it is a schedule's, which deletes it in its time."""
        return all(backup.is_daily for backup in self.backups)

    @property
    def size_bytes(self) -> int | None:
        sizes = [backup.size_bytes for backup in self.backups]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def restore_query(self) -> str:
        """What the restore's page is asked for; empty where nothing here can be restored."""
        query = QueryDict(mutable=True)
        if self.set and self.set.complete:
            query["set"] = self.set.stamp
        elif len(self.backups) == 1 and self.status == "AVAILABLE":
            query["backup"] = self.backups[0].arn
        return query.urlencode()

    @property
    def delete_query(self) -> str:
        """What the page that deletes is asked for; AWS's own backups are not ours to delete."""
        query = QueryDict(mutable=True)
        query.setlist("backup", [backup.arn for backup in self.backups if is_deletable(backup)])
        return query.urlencode()


@dataclass(frozen=True, slots=True)
class RestoredRow:
    """Restored tables of one stamp, and whether one of them serves now."""

    stamp: str
    names: tuple[str, ...]
    is_serving: bool

    @property
    def url(self) -> str:
        """The page that follows them."""
        return restore_pages.url_of(self.names)


@dataclass(frozen=True, slots=True)
class Restored:
    """Restored tables; ``is_whole`` unless there may be more than those."""

    rows: tuple[RestoredRow, ...]
    is_whole: bool = True
    problem: str = ""


def is_deletable(backup: Backup) -> bool:
    return backup.type == "USER" and backup.status != "DELETED"


@shell.page("view_session")
def page(request: HttpRequest) -> HttpResponse:
    client, both = dynamodb(quick=True), named_tables()
    wanted = request.GET.get("table", "").strip()
    names = [wanted] if wanted else [table.name for table in both]
    groups, problem = _groups(names, client)
    windows = [_window(table, client) for table in both]
    unsupported = isinstance(problem, Unsupported)
    context = {
        "groups": groups,
        "problem": problem,
        "is_unsupported": unsupported,
        "windows": windows,
        "recoverable": [window for window in windows if window.is_on],
        "tables": both,
        "wanted": wanted,
        "has_daily": any(group.is_daily for group in groups),
        "is_creating": any(group.status == "CREATING" for group in groups),
        "every": EVERY_SECONDS,
        "restored": None if unsupported else _restored(client),
        "here": request.get_full_path(),
    }
    return shell.render(request, "sessions_dynamo/backups/page.html", context, title="Backups")


def _groups(names: Sequence[str], client: DynamoDBClient) -> tuple[list[Group], StorageError | None]:
    """What there is, newest first, or why it cannot be said."""
    try:
        if not all(map(is_table_name, names)):
            return [], restores.RestoreRefused(f"{names[0][:300]!r} is no table name.")
        found = [backup for name in names for backup in on_demand.list_backups(name, client=client)]
    except _HERE as exc:
        return [], exc
    sets = on_demand.to_sets(found, names) if len(names) > 1 else []
    in_sets = {backup.arn for one in sets for backup in one.backups}
    groups = [Group(one.backups, one) for one in sets]
    groups += [Group((backup,)) for backup in found if backup.arn not in in_sets]
    return sorted(groups, key=lambda group: group.backups[0].created_at, reverse=True), None


def _window(table: NamedTable, client: DynamoDBClient) -> Window:
    try:
        with backup_errors(table.name):
            return Window(table.name, point_in_time_recovery(client, table.name))
    except _HERE as exc:
        return Window(table.name, None, str(exc))


def _restored(client: DynamoDBClient) -> Restored:
    """Restored tables of ours, those of one stamp together, newest first."""
    try:
        names, is_whole = jobs.names(client=client)
    except _HERE as exc:
        return Restored((), problem=str(exc))
    serving = {table.name for table in named_tables()}
    together: dict[str, list[str]] = {}
    for name in names:
        together.setdefault(jobs.stamp_of(name), []).append(name)
    order = [RESTORED.sub("", table.name) for table in named_tables()]
    rows = tuple(
        RestoredRow(
            stamp,
            tuple(sorted(of_stamp, key=lambda name: order.index(RESTORED.sub("", name)))),
            not serving.isdisjoint(of_stamp),
        )
        for stamp, of_stamp in together.items()
    )
    return Restored(rows[:MAX_RESTORED], is_whole=is_whole and len(rows) <= MAX_RESTORED)


# --- Make and delete ------------------------------------------------------------------------------------------


@shell.page("manage_backups")
def create(request: HttpRequest) -> HttpResponse:
    """Ask AWS for a backup of each table, under one stamp, and do not wait for it."""
    both, back = named_tables(), reverse("mcp_staff:backups")
    answer = shell.ask(
        request,
        title="Back up both tables",
        question="Back up both tables now?",
        targets=[table.name for table in both],
        consequences="Both backups get the same time stamp, and are restored together by it. They take no capacity from"
        " the tables, and cost storage until they are deleted.",
        button="Back up both tables",
        back=back,
        danger=False,
    )
    if answer is not None:
        return answer
    try:
        made = on_demand.create(both, patience=0)
    except on_demand.BackupFailed as exc:
        shell.record(request, BackupRecord, "both tables", ADDITION, f"Asked for, and not all made: {exc}")
        raise
    for backup in made:
        shell.record(request, BackupRecord, backup.arn, ADDITION, f"Asked for {backup.name}.")
    names = " and ".join(backup.name for backup in made)
    ready = all(backup.status == "AVAILABLE" for backup in made)
    return shell.done(request, f"{names}: {'available' if ready else 'AWS is making them'}.", back)


@shell.page("manage_backups")
def delete(request: HttpRequest) -> HttpResponse:
    """Delete backups of ours, each named in the question."""
    given, back = _given(request), reverse("mcp_staff:backups")
    arns = list(dict.fromkeys(given.getlist("backup")))[:MAX_AT_ONCE]
    if not arns:
        return shell.problem(request, "Which backup?", "No backup is named.", remedy="Choose one on the backups page.")
    try:
        client = dynamodb(quick=request.method != "POST")
        found = [_ours(arn, client) for arn in arns]
    except BackupNotFound as exc:
        return shell.problem(request, "No such backup", str(exc), status=404)
    answer = shell.ask(
        request,
        title="Delete backups" if len(found) > 1 else "Delete a backup",
        question=f"Delete {len(found)} backups?" if len(found) > 1 else f"Delete backup {found[0].name}?",
        targets=[f"{backup.name}, {backup.created_at:%Y-%m-%d %H:%M:%S} UTC" for backup in found],
        consequences="To delete a backup cannot be undone.",
        button="Delete",
        back=back,
        fields={"backup": arns},
    )
    if answer is not None:
        return answer
    for backup in found:
        on_demand.delete(backup.arn)
        shell.record(request, BackupRecord, backup.arn, DELETION, f"Deleted {backup.name}.")
    return shell.done(request, f"Deleted: {', '.join(backup.name for backup in found)}.", back)


def _ours(arn: str, client: DynamoDBClient) -> Backup:
    """The backup of this ARN, of a table such as ours: others in the account are not the staff pages' business."""
    if not (arn.startswith("arn:") and "/backup/" in arn and len(arn) <= 1024):
        raise BackupNotFound(f"{arn[:300]!r} is no backup's ARN.")
    details = on_demand.describe(arn, client=client)
    declared_table(details.keys, f"Backup {details.backup.name}")
    if not is_deletable(details.backup):
        raise BackupNotFound(f"Backup {details.backup.name} is AWS's own ({details.backup.type}) or already deleted.")
    return details.backup


def _given(request: HttpRequest) -> QueryDict:
    return request.POST if request.method == "POST" else request.GET


urlpatterns = [
    path("backups/", page, name="backups"),
    path("backups/create/", create, name="backups-create"),
    path("backups/delete/", delete, name="backups-delete"),
    *restore_pages.urlpatterns,
]
