"""A process that stands still between two answers, as AWS Lambda's: what it owes is done before, not after it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import suppress
from typing import Any, Final

from mcpsite.blocking.threads import in_thread
from mcpsite.door.request import Receive
from mcpsite.door.short_door import Application, Scope, Send
from mcpsite.endpoint.loop import begun_loop
from sessions_dynamo import metrics
from sessions_dynamo.conf import conf
from sessions_dynamo.dataplane.loops import drop_stale_of_this_loop
from sessions_dynamo.tasks import kept

logger = logging.getLogger(__name__)

METRICS_SECONDS: Final = 5.0
LONGEST_SECONDS: Final = 900.0
"""That a function may have."""
RESERVED_SECONDS: Final = 1.5
"""Of a function's time, or a fifth of it: to answer what ran too long, and to write what is owed."""
_CONTEXT: Final = b"x-amzn-lambda-context"
"""A header of the AWS Lambda Web Adapter's, which replaces what a client sent by that name: Lambda's own context."""


def reserved(seconds: float) -> float:
    """Of so many seconds that a function has, those before its end in which nothing more is waited for."""
    return min(RESERVED_SECONDS, seconds / 5)


def time_is_over(seconds: float) -> str:
    """What the client of a call is told that took all of its function's time."""
    return (
        f"The call was ended after {seconds:.0f} s, which is all that its function had. Its operator can raise the"
        " function's timeout, or have the service run where calls may take longer: docs/lambda.md."
    )


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

    For a server in a function, behind the AWS Lambda Web Adapter: its process is frozen when the answer has ended, and
    killed when the function's time is over. Before that, what still runs is ended.
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
        loop, seconds = asyncio.get_running_loop(), _seconds_left(scope)
        ends = loop.time() + seconds - reserved(seconds)
        ending = loop.call_at(ends, lambda: kept(_end(scope, seconds)))

        async def settled(message: Any) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                # What was ended at the last moment has yet to be written.
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(ends + reserved(seconds) * 4 / 5):
                        await self._thaw.settle(self._seconds)
            await send(message)

        try:
            await self._application(scope, receive, settled)
        finally:
            ending.cancel()


async def _end(scope: Scope, seconds: float) -> None:
    logger.error("a request was ended because the function's time was over: %s %r", scope["method"], scope["path"])
    if (serving := begun_loop()) is not None:
        await serving.give_up(time_is_over(seconds), reserved(seconds) / 3)


def _seconds_left(scope: Scope) -> float:
    """What the function has left; where nobody says, the longest that it may have."""
    try:
        deadline_ms: int = json.loads(dict(scope["headers"])[_CONTEXT])["deadline"]
        return max(0.5, deadline_ms / 1000 - time.time())
    except (KeyError, TypeError, ValueError):
        return LONGEST_SECONDS
