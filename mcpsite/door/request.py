"""The endpoint's own ``HttpRequest``: Django's, its body not read before the view asks for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from io import BytesIO
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from django.utils.datastructures import CaseInsensitiveMapping
from django.utils.functional import cached_property

Receive = Callable[[], Awaitable[Any]]


class DoorRequest(ASGIRequest):
    """A request as the short door makes it; garbage in its head is for the view to answer."""

    def __init__(self, scope: dict[str, Any], receive: Receive) -> None:
        try:
            scope["query_string"].decode()
        except UnicodeDecodeError:
            # Django raises; nothing here reads it.
            scope = {**scope, "query_string": b""}
        super().__init__(scope, BytesIO())
        self.receive = receive

    @cached_property
    def headers(self) -> CaseInsensitiveMapping[str]:  # type: ignore[override]
        return CaseInsensitiveMapping(_received(self.scope))

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            super()._set_content_type_params(meta)  # type: ignore[misc]
        except ValueError:
            self.content_type, self.content_params = "", {}


def headers_of(request: HttpRequest) -> Mapping[str, str]:
    """Every header by its name in lower case; under ASGI those with an underscore too, which Django drops."""
    if isinstance(request, DoorRequest):
        return request.headers
    if isinstance(request, ASGIRequest):
        return _received(request.scope)
    return {name.lower(): value for name, value in request.headers.items()}


def _received(scope: Mapping[str, Any]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin1").lower(), raw_value.decode("latin1")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers
