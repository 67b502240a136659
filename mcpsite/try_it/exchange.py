"""One HTTP request to the endpoint and its answer, in this process: the endpoint's own code, from headers to bytes."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse

from mcpsite.door.event_stream import EventStream
from mcpsite.door.request import DoorRequest
from mcpsite.endpoint.access.auth import chosen
from mcpsite.endpoint.conf import PUBLIC
from mcpsite.endpoint.loop import begun_loop, close_loop
from mcpsite.endpoint.views import serve
from sessions_dynamo.staff import json_tree

MAX_SECONDS: Final = 30.0
"""How long a page waits for a streamed answer."""
MAX_BYTES: Final = 1024 * 1024
"""What a page keeps of an answer."""
MAX_SHOWN: Final = 32 * 1024
"""Characters of a body on screen."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer as they would go over the wire."""

    title: str
    method: str
    request_headers: Mapping[str, str]
    request_body: str
    status: int
    reason: str
    response_headers: Mapping[str, str]
    response_body: str
    duration_ms: float
    cut: str = ""
    """Why the answer is not whole; empty where it is."""

    @property
    def path(self) -> str:
        return reverse("mcp")

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The JSON-RPC messages of the answer: its body, or the data of its events."""
        texts = [self.response_body]
        if self.response_headers.get("Content-Type", "").startswith("text/event-stream"):
            texts = list(_event_data(self.response_body))
        return [message for message in map(_parsed, texts) if isinstance(message, dict)]

    @property
    def answer(self) -> dict[str, Any]:
        """The message that answers the request; empty where there is none."""
        return next((message for message in reversed(self.messages) if {"result", "error"} & message.keys()), {})

    @property
    def shown_request(self) -> str:
        """The body with its JSON indented, cut to ``MAX_SHOWN``."""
        return _on_screen(self.request_body)

    @property
    def shown_response(self) -> str:
        """As ``shown_request``; an event stream as it came."""
        return _on_screen(self.response_body)

    @property
    def download(self) -> str:
        """A ``data:`` URL of the whole response where it is not shown whole; a page has nowhere to keep it."""
        if not json_tree.indented(self.response_body, MAX_SHOWN).is_cut:
            return ""
        encoded = base64.b64encode(self.response_body.encode()).decode()
        return f"data:text/plain;charset=utf-8;base64,{encoded}"


class Caller:
    """Sends requests as one staff user, whom the page has authenticated.

    Where anybody may call, the staff user is anybody too, and so reaches every session by its id. Elsewhere the
    principal is the staff user's own: no other principal's session can be reached.
    """

    def __init__(self, staff_user_id: int) -> None:
        self.principal = "" if chosen() == PUBLIC else f"staff:{staff_user_id}"

    def post(self, title: str, message: Mapping[str, Any], headers: Mapping[str, str]) -> Exchange:
        """Post a message and read the answer, at most ``MAX_SECONDS`` and ``MAX_BYTES`` of it."""
        body = json.dumps(message, ensure_ascii=False)
        sent = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", **headers}
        began = perf_counter()
        # On the loop that serves the site where the page came by one, else on one of its own.
        response, content, cut = async_to_sync(self._send)(body.encode(errors="replace"), sent)
        return Exchange(
            title=title,
            method="POST",
            request_headers=sent,
            request_body=body,
            status=response.status_code,
            reason=response.reason_phrase,
            response_headers=dict(response.items()),
            response_body=content.decode(errors="replace"),
            duration_ms=(perf_counter() - began) * 1000,
            cut=cut,
        )

    async def _send(self, body: bytes, headers: Mapping[str, str]) -> tuple[HttpResponseBase, bytes, str]:
        is_own_loop = begun_loop() is None
        try:
            response = await serve(_request(body, headers), self._authenticate)
            return response, *(await _read(response))
        finally:
            if is_own_loop:
                await close_loop()

    async def _authenticate(self, request: HttpRequest) -> HttpResponse | None:
        request.user = AnonymousUser()
        request.mcp_principal = self.principal  # type: ignore[attr-defined]
        return None


def _request(body: bytes, headers: Mapping[str, str]) -> HttpRequest:
    scope = {
        "type": "http",
        "method": "POST",
        "path": reverse("mcp"),
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode("latin1", "replace")) for name, value in headers.items()]
        + [(b"content-length", str(len(body)).encode())],
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    return DoorRequest(scope, receive)


async def _read(response: HttpResponseBase) -> tuple[bytes, str]:
    """The body, and why it was cut, if it was. A response that is left early is a client that left."""
    parts, size = [], 0
    try:
        async with asyncio.timeout(MAX_SECONDS), aclosing(_pieces(response)) as pieces:
            async for piece in pieces:
                parts.append(piece[: MAX_BYTES - size])
                size += len(piece)
                if size > MAX_BYTES:
                    return b"".join(parts), f"It is longer than {MAX_BYTES // 1024} KiB; the rest was not read."
    except TimeoutError:
        return b"".join(parts), f"It was still open after {MAX_SECONDS:.0f} seconds; the page left then."
    return b"".join(parts), ""


async def _pieces(response: HttpResponseBase) -> AsyncGenerator[bytes]:
    if isinstance(response, HttpResponse):
        yield response.content
    elif isinstance(response, EventStream):
        async with aclosing(response.frames) as frames:
            async for frame in frames:
                yield frame


def _event_data(text: str) -> Iterator[str]:
    """The data of each event of a stream (HTML standard, "Server-sent events")."""
    for block in text.replace("\r\n", "\n").split("\n\n"):
        lines = [line.removeprefix("data:").removeprefix(" ") for line in block.split("\n") if line.startswith("data:")]
        if data := "\n".join(lines):
            yield data


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _on_screen(text: str) -> str:
    shown = json_tree.indented(text, MAX_SHOWN)
    return f"{shown.text}\n… cut here" if shown.is_cut else shown.text
