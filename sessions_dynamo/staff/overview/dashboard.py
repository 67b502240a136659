"""The dashboard: health and the newest sessions at once; charts and tables as parts that load by themselves."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse

from sessions_dynamo import metrics
from sessions_dynamo.client import dynamodb, is_aws
from sessions_dynamo.conf import conf
from sessions_dynamo.errors import StorageError
from sessions_dynamo.reading import activity
from sessions_dynamo.staff import shell, stores
from sessions_dynamo.staff.overview import charts
from sessions_dynamo.staff.overview.charts import Chart, Range
from sessions_dynamo.staff.tables import readings
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.tables import setup
from sessions_dynamo.tables.describing import describe_table
from sessions_dynamo.tables.names import NamedTable, named_tables
from sessions_dynamo.upkeep import cloudwatch, roll_call
from sessions_dynamo.upkeep.readings import ServiceReadings
from sessions_dynamo.upkeep.roll_call import RollCall

LATEST: Final = 10
"""Sessions of the dashboard's list."""


@dataclass(frozen=True, slots=True)
class TableHealth:
    """A table's status, or why it has none."""

    name: str
    status: str = ""
    reason: str = ""

    @property
    def tone(self) -> str:
        """How its badge looks."""
        return {"ACTIVE": "good", "UPDATING": "good", "": "bad"}.get(self.status, "warn")


@shell.page("view_session")
def dashboard(request: HttpRequest) -> HttpResponse:
    """Whether the service is ready, by the check of ``/readyz``, its newest sessions, and how many workers live.

    9 Queries and 5 requests.
    """
    chosen, is_known = _range(request)
    client, both = dynamodb(quick=True), named_tables()
    with ThreadPoolExecutor(len(both) + 3) as pool:
        ready = pool.submit(setup.reachable, client)
        standing = [pool.submit(_table_health, table) for table in both]
        latest = pool.submit(_latest)
        workers = pool.submit(_workers)
    sessions, list_problem = _outcome(latest)
    _, problem = _outcome(ready)
    called, _ = _outcome(workers)
    context = {
        "range": chosen,
        "ranges": charts.RANGES.values(),
        "is_known": is_known,
        "problem": problem,
        "tables": [each.result() for each in standing],
        "workers": called,
        "sessions": sessions,
        "list_problem": list_problem,
        # Each part would only find out the same, three seconds later.
        "is_down": bool(problem and list_problem),
        "region": client.meta.region_name,
        "endpoint": "" if is_aws(client) else client.meta.endpoint_url,
        "parts": [{"name": name, "title": view.title, "url": _part_url(name, chosen)} for name, view in PARTS.items()],
    }
    return shell.render(request, "sessions_dynamo/overview/dashboard.html", context, title="Dashboard")


def _range(request: HttpRequest) -> tuple[Range, bool]:
    """The range that the URL names; the default where it names none, or one that there is not."""
    named = request.GET.get("range", charts.DEFAULT.key)
    return charts.RANGES.get(named, charts.DEFAULT), named in charts.RANGES


def _latest() -> list[Session]:
    return stores.session_list().page("created_at", limit=LATEST).items


def _workers() -> RollCall:
    return roll_call.judged(stores.streams().roster.all())


def _table_health(table: NamedTable) -> TableHealth:
    try:
        return TableHealth(table.name, describe_table(dynamodb(quick=True), table.name)["TableStatus"])
    except StorageError as exc:
        return TableHealth(table.name, reason=str(exc))


def _outcome(future: Future[Any]) -> tuple[Any, str]:
    """What a thread returned, or the storage error that ended it."""
    try:
        return future.result(), ""
    except StorageError as exc:
        return None, str(exc)


# --- Parts ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the dashboard with a URL of its own: htmx loads it into the page, a link shows it by itself."""

    title: str
    template: str
    read: Callable[[Range], dict[str, Any]]

    def __call__(self, request: HttpRequest) -> HttpResponse:
        chosen, _ = _range(request)
        is_fragment = "HX-Request" in request.headers
        context: dict[str, Any] = {"range": chosen, "title": self.title, "is_fragment": is_fragment}
        try:
            context |= self.read(chosen)
        except StorageError as exc:
            if not is_fragment:
                raise
            # As a page that is there: htmx would not show an error's.
            return TemplateResponse(
                request,
                "sessions_dynamo/overview/failed.html",
                {**context, "reason": str(exc), "retry": request.get_full_path()},
            )
        if not is_fragment:
            return shell.render(
                request, "sessions_dynamo/overview/part.html", {"part": self.template, **context}, title=self.title
            )
        may = {name: shell.may(request, name) for name in ("manage_tables", "manage_backups")}
        return TemplateResponse(request, self.template, {"may": may, **context})


def _active(chosen: Range) -> dict[str, Any]:
    now = datetime.now(UTC)
    steps, idle_after = chosen.steps(now), now - timedelta(minutes=conf.SESSION_IDLE_MINUTES)
    sample = activity.active(stores.sessions(), min(steps[0], idle_after))
    line = charts.from_sample("Sessions", sample, steps, chosen.step)
    source = "Each stored session counts once, at its last activity; ended ones too."
    chart = Chart("active", "Active sessions", tuple(steps), (line,), source, _back_to(sample, steps[0]))
    return {
        "charts": [chart],
        "now": sample.after(idle_after),
        "now_is_lower_bound": not sample.reaches(idle_after),
        "idle_minutes": conf.SESSION_IDLE_MINUTES,
    }


def _created(chosen: Range) -> dict[str, Any]:
    steps = chosen.steps(datetime.now(UTC))
    found, why_not = _cloudwatch(chosen)
    if found is not None:
        series = found.service.counts["SessionCreated"]
        line, source, back_to = charts.from_series("Created", series, steps, chosen.step), _FROM_CLOUDWATCH, None
    else:
        sample = activity.created(stores.sessions(), steps[0])
        line = charts.from_sample("Created", sample, steps, chosen.step)
        source = f"{why_not} Counted are sessions that are still stored."
        back_to = _back_to(sample, steps[0])
    return {"charts": [Chart("created", "Sessions created", tuple(steps), (line,), source, back_to)]}


def _traffic(chosen: Range) -> dict[str, Any]:
    steps = chosen.steps(datetime.now(UTC))
    found, why_not = _cloudwatch(chosen)
    if found is not None:
        counts = found.service.counts
        lines = [
            charts.from_series(name, counts[metric], steps, chosen.step)
            for name, metric in (("Tool calls", "ToolCalls"), ("Errors", "ToolErrors"), ("Events", "EventsStored"))
        ]
        calls_source = events_source = _FROM_CLOUDWATCH
        calls_back = events_back = None
    else:
        sample = activity.traffic(stores.events(), steps[0])
        lines = [
            charts.from_sample(name, of, steps, chosen.step)
            for name, of in (
                ("Tool calls", sample.tool_calls),
                ("Errors", sample.tool_errors),
                ("Events", sample.events),
            )
        ]
        events_source = why_not
        calls_source = why_not if conf.RECORD_CALLS else f"{why_not} RECORD_CALLS is off: no call is recorded."
        calls_back, events_back = (_back_to(each, steps[0]) for each in (sample.tool_calls, sample.events))
    calls, errors, events = lines
    return {
        "charts": [
            Chart("calls", "Tool calls and errors", tuple(steps), (calls, errors), calls_source, calls_back),
            Chart("events", "Events", tuple(steps), (events,), events_source, events_back),
        ]
    }


_FROM_CLOUDWATCH: Final = "From CloudWatch: this service's own metrics. A time without a datapoint is left empty."


def _cloudwatch(chosen: Range) -> tuple[ServiceReadings | None, str]:
    """The service's metrics; where there are none, why the numbers come from the indexes."""
    if not metrics.enabled():
        return None, "Counted from the tables' indexes: METRICS is off."
    try:
        return cloudwatch.service_series(hours=chosen.hours), ""
    except StorageError as exc:
        return None, f"Counted from the tables' indexes. {exc}"


def _back_to(sample: activity.Sample, beginning: datetime) -> charts.BackTo | None:
    """Where a sample ends, if it does not reach back to the chart's beginning."""
    if sample.reaches(beginning):
        return None
    return charts.BackTo(sample.since, len(sample.times) if sample.is_cut else None)


def _table(number: int) -> Callable[[Range], dict[str, Any]]:
    def read(chosen: Range) -> dict[str, Any]:
        return {"look": readings.look(named_tables()[number], hours=chosen.hours), "number": number}

    return read


PARTS: Final = {
    "active": Part("Active sessions", "sessions_dynamo/overview/charts.html", _active),
    "created": Part("Sessions created", "sessions_dynamo/overview/charts.html", _created),
    "traffic": Part("Tool calls and events", "sessions_dynamo/overview/charts.html", _traffic),
    "sessions-table": Part("Sessions table", "sessions_dynamo/overview/table.html", _table(0)),
    "events-table": Part("Events table", "sessions_dynamo/overview/table.html", _table(1)),
}


def _part_url(name: str, chosen: Range) -> str:
    return reverse(f"mcp_staff:dashboard-{name}", query={"range": chosen.key})


urlpatterns = [
    path("", dashboard, name="dashboard"),
    *(
        path(f"dashboard/{name}/", shell.page("view_session")(part), name=f"dashboard-{name}")
        for name, part in PARTS.items()
    ),
]
