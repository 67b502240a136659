"""A process that stands still between two answers, as AWS Lambda's: what it owes is done before, not after it."""

from __future__ import annotations

import time
from typing import Any, Final

from mcpsite.blocking.threads import in_thread
from mcpsite.door.request import Receive
from mcpsite.door.short_door import Application, Scope, Send
from mcpsite.endpoint.loop import begun_loop
from sessions_dynamo import metrics
from sessions_dynamo.conf import conf
from sessions_dynamo.dataplane.loops import drop_stale_of_this_loop

METRICS_SECONDS: Final = 5.0


class Thaw:
    """Knows when this process did something last, by the one clock that goes on while a machine stands still."""

    def __init__(self) -> None:
        self._last = time.time()

    def awake(self) -> None:
        """Something is to be done: connections that idled for longer than DynamoDB lets them are made anew."""
        now = time.time()
        drop_stale_of_this_loop(now - self._last)
        self._last = now

    async def settle(self, seconds: float) -> None:
        """Write what was put off, for at most so long for each kind: records of calls, events for others, metrics."""
        if (serving := begun_loop()) is not None:
            await serving.settle(seconds)
        if conf.METRICS == "emf":
            await in_thread(metrics.flush, min(seconds, METRICS_SECONDS))
        self._last = time.time()


class SettledAnswers:
    """An ASGI application that holds back the end of each answer until all that came of it is written.

    For a server in a function, behind the AWS Lambda Web Adapter: its process is frozen when the answer has ended.
    """

    def __init__(self, application: Application, seconds: float) -> None:
        """An answer waits at most ``seconds`` for each kind of what is to be written."""
        self._application = application
        self._seconds = seconds
        self._thaw = Thaw()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's scope (ASGI 3.0)."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        self._thaw.awake()

        async def settled(message: Any) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                await self._thaw.settle(self._seconds)
            await send(message)

        await self._application(scope, receive, settled)
