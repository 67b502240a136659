"""The short way in under ASGI: from the connection to an async view, with nothing of Django's handler between.

Its middleware and signals cost a thread's hop each. A view that asks for the short door has none of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import lru_cache
from typing import Any, Final, TypeVar

from django.core.handlers.asgi import get_script_prefix
from django.core.handlers.exception import response_for_exception
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import Resolver404, ResolverMatch, resolve, set_script_prefix, set_urlconf

from mcpsite.door.event_stream import EventStream
from mcpsite.door.request import DoorRequest, Receive
from sessions_dynamo.conf import forget_on_change

Scope = dict[str, Any]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
V = TypeVar("V", bound=Callable[..., Awaitable[HttpResponseBase]])

_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "DELETE"})
WATCH_SECONDS: Final = 0.05
"""How long a request is served before its client is watched: most are answered by then."""


def short_door(view: V) -> V:
    """Have ``ShortDoor`` serve an async view, which answers with ``HttpResponse`` or ``EventStream``."""
    view.is_short = True  # type: ignore[attr-defined]
    return view


class ShortDoor:
    """An ASGI application before Django's: it serves the views that ask for it, and passes on all else."""

    def __init__(self, django: Application) -> None:
        self._django = django

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's scope (ASGI 3.0)."""
        match = None
        if scope["type"] == "http":
            prefix = get_script_prefix(scope)
            match = _match(scope["path"].removeprefix(prefix) if prefix else scope["path"])
        if match is None:
            await self._django(scope, receive, send)
            return
        set_script_prefix(prefix)
        set_urlconf(None)
        client = _Client(receive)
        request = DoorRequest(scope, client.receive)
        if request.method in _WITHOUT_BODY:
            client.expect_nothing()
        try:
            await _send(await _respond(match, request), send, client)
        except asyncio.CancelledError:
            if not client.has_left:
                raise
            # Nobody is there to be answered.
        finally:
            client.close()


class _Client:
    """The client of one request: what it sends, and whether it is still there.

    When it leaves, the request's task is cancelled; a handler has a task of its own.
    """

    def __init__(self, receive: Receive) -> None:
        self.has_left = False
        self._receive = receive
        self._request: asyncio.Task[Any] | None = asyncio.current_task()
        self._watch: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def receive(self) -> Any:
        """The next piece of the body."""
        event = await self._receive()
        if event["type"] == "http.request" and not event.get("more_body", False):
            self.expect_nothing()
        return event

    def expect_nothing(self) -> None:
        """Nothing more is to come: soon look whether the client leaves."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WATCH_SECONDS, self.watch)

    def watch(self) -> None:
        """Look from now on, unless a body is yet to be read."""
        if self._watch is None and self._timer is not None:
            self._watch = asyncio.create_task(self._look())

    def close(self) -> None:
        """Look no more."""
        self._request = None
        if self._timer is not None:
            self._timer.cancel()
        if self._watch is not None:
            self._watch.cancel()

    async def _look(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass  # A body that no view asked for.
        self.has_left = True
        if self._request is not None:
            self._request.cancel()


async def _respond(match: ResolverMatch, request: DoorRequest) -> HttpResponseBase:
    request.resolver_match = match
    try:
        response: HttpResponseBase = await match.func(request, *match.args, **match.kwargs)
    except Exception as exc:
        # As Django's handler has it: the log, got_request_exception, and an error page.
        return response_for_exception(request, exc)
    return response


async def _send(response: HttpResponseBase, send: Send, client: _Client) -> None:
    headers = [(name.lower().encode("ascii"), value.encode("latin1")) for name, value in response.items()]
    headers += [(b"set-cookie", cookie.output(header="").strip().encode()) for cookie in response.cookies.values()]
    start = {"type": "http.response.start", "status": response.status_code, "headers": headers}
    if isinstance(response, EventStream):
        await _send_stream(response, start, send, client)
        return
    body: bytes = response.content if isinstance(response, HttpResponse) else b""
    if not response.has_header("Content-Length"):
        headers.append((b"content-length", str(len(body)).encode()))
    await send(start)
    await send({"type": "http.response.body", "body": body})


async def _send_stream(response: EventStream, start: Mapping[str, Any], send: Send, client: _Client) -> None:
    client.watch()
    try:
        # Closed here and by this task, and not when the collector finds it.
        async with aclosing(response.frames) as frames:
            await send(start)
            async for frame in frames:
                await send({"type": "http.response.body", "body": frame, "more_body": True})
    finally:
        response.gone()
    await send({"type": "http.response.body", "body": b""})


@lru_cache(maxsize=256)
def _match(path: str) -> ResolverMatch | None:
    """What serves a path by the short door, if anything does."""
    try:
        match = resolve(path)
    except Resolver404:
        return None
    return match if getattr(match.func, "is_short", False) else None


forget_on_change(_match.cache_clear, "ROOT_URLCONF")
