"""Health for load balancers, which call by address and not by name: no Host is checked."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

from mcpsite.blocking.threads import in_thread
from mcpsite.door.short_door import short_door
from sessions_dynamo.errors import StorageError
from sessions_dynamo.tables import setup


@short_door
@login_not_required
async def healthz(request: HttpRequest) -> HttpResponseBase:
    """The process is up."""
    _refuse_others(request)
    return JsonResponse({"status": "ok"})


@short_door
@login_not_required
async def readyz(request: HttpRequest) -> HttpResponseBase:
    """Both tables can be reached; else 503 and the reason."""
    _refuse_others(request)
    try:
        await in_thread(setup.reachable)
    except StorageError as exc:
        return JsonResponse({"status": "unavailable", "reason": str(exc)}, status=503)
    return JsonResponse({"status": "ready"})


def _refuse_others(request: HttpRequest) -> None:
    if request.method not in ("GET", "HEAD"):
        raise Http404
