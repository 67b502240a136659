"""The workers of the service, live: who is alive, since when, and what each holds. One Query a look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path, reverse

from sessions_dynamo import worker_keys
from sessions_dynamo.staff import shell, stores
from sessions_dynamo.upkeep import roll_call
from sessions_dynamo.upkeep.roll_call import RollCall, Seen
from sessions_dynamo.workers.roster import WORKER_TTL

EVERY_MS: Final = 5_000
MAX_SHOWN: Final = 200
"""Workers of each list."""

_TILES: Final = (
    # What is held, how it is called, and what that means.
    ("calls", "Calls", "running"),
    ("streams", "Streams", "of calls that run"),
    ("followed", "Followed", "by clients that came back"),
    ("standalone", "Standalone", "streams of sessions"),
    ("questions", "Questions", "to clients, not answered yet"),
    ("subscriptions", "Subscriptions", "streams of listen"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One worker of a list."""

    seen: Seen
    holds: list[str]

    @property
    def anchor(self) -> str:
        """What other pages link to; empty for a name that is none of ours."""
        worker_id = self.seen.worker.worker_id
        return f"worker-{worker_id}" if worker_keys.is_worker_id(worker_id) else ""


@shell.page("view_session")
def page(request: HttpRequest) -> HttpResponse:
    return shell.render(request, "sessions_dynamo/workers/page.html", _look(), title="Workers")


@shell.page("view_session")
def live(request: HttpRequest) -> HttpResponse:
    """The lists as they are now, in the place of those that the page shows."""
    return render(request, "sessions_dynamo/workers/live.html", _look())


def _look() -> dict[str, Any]:
    found = roll_call.judged(stores.streams().roster.all())
    return {
        "found": found,
        "alive": _rows(found.alive),
        "silent": _rows(found.silent),
        "most": MAX_SHOWN,
        "tiles": _tiles(found),
        "kept_minutes": WORKER_TTL.total_seconds() / 60,
        "live_url": reverse("mcp_staff:workers-live"),
        "every": EVERY_MS,
    }


def _rows(workers: tuple[Seen, ...]) -> list[Row]:
    return [Row(seen, roll_call.words(seen.worker.holds)) for seen in workers[:MAX_SHOWN]]


def _tiles(found: RollCall) -> list[dict[str, Any]]:
    return [{"label": label, "value": found.holds[name], "note": note} for name, label, note in _TILES]


urlpatterns = [
    path("workers/", page, name="workers"),
    path("workers/live/", live, name="workers-live"),
]
