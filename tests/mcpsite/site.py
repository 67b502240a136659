"""The whole site in this process, on an event loop in a thread of its own: ASGI in, an answer out."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from functools import cache
from typing import Any, TypeVar

from django.core.asgi import get_asgi_application
from django.utils.datastructures import CaseInsensitiveMapping

from mcpsite.door.short_door import Application, Send, ShortDoor
from mcpsite.endpoint.loop import close_loop
from mcpsite.endpoint.own_routes import OwnRoutes

T = TypeVar("T")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="site", daemon=True).start()
    return loop


def on_the_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine on the site's loop."""
    return asyncio.run_coroutine_threadsafe(coroutine, _loop()).result()


def close() -> None:
    """End what the endpoint has begun on the loop: its worker would write into tables of other tests."""
    if _loop.cache_info().currsize:
        on_the_loop(close_loop())


@cache
def application() -> Application:
    """The site, without its lifespan: what it needs begins with the first request."""
    return ShortDoor(OwnRoutes(get_asgi_application()))


class Connection:
    """One HTTP request on the site's loop, as a server would bring it; ``leave`` is the client closing it."""

    def __init__(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        app: Application | None = None,
        **scope: Any,
    ) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.pieces: list[bytes] = []
        self._app = app or application()
        given = {"host": "testserver", **{name.lower(): value for name, value in (headers or {}).items()}}
        if body and "content-length" not in given:
            given["content-length"] = str(len(body))
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path.partition("?")[0],
            "raw_path": path.partition("?")[0].encode(),
            "query_string": path.partition("?")[2].encode(),
            "root_path": "",
            "headers": [(name.encode("latin1"), value.encode("latin1", "replace")) for name, value in given.items()],
            "client": ("127.0.0.1", 50000),
            "server": ("testserver", 80),
            **scope,
        }
        self._body: bytes | None = body
        self._left = asyncio.Event()

    async def run(self, send: Send | None = None) -> None:
        """Serve the request to its end; ``send`` takes the answer in this one's place."""
        await self._app(self._scope, self._receive, send or self._send)

    def leave(self) -> None:
        """Close the connection."""
        self._left.set()

    async def _receive(self) -> Any:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = CaseInsensitiveMapping(
                {name.decode("latin1"): value.decode("latin1") for name, value in message["headers"]}
            )
        elif body := message.get("body"):
            self.pieces.append(body)


def request(
    method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, **scope: Any
) -> Connection:
    """One request, served to its end."""

    async def serve() -> Connection:
        connection = Connection(method, path, body, headers, **scope)
        await connection.run()
        return connection

    return on_the_loop(serve())
