"""Health for load balancers, answered before the Host check: they call by address, not by name."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

from sessions_dynamo.errors import StorageError
from sessions_dynamo.tables import setup


def healthz(request: HttpRequest) -> HttpResponseBase:
    """The process is up."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> HttpResponseBase:
    """Both tables can be reached; else 503 and the reason."""
    try:
        setup.reachable()
    except StorageError as exc:
        return JsonResponse({"status": "unavailable", "reason": str(exc)}, status=503)
    return JsonResponse({"status": "ready"})


_VIEWS = {"/healthz": healthz, "/readyz": readyz}


class HealthMiddleware:
    """Serves ``/healthz`` and ``/readyz`` to GET and HEAD."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        view = _VIEWS.get(request.path_info)
        return view(request) if view and request.method in ("GET", "HEAD") else self.get_response(request)
