"""One function: each event to the site on a loop of its own, whole, before the function's time is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

from mcpsite.aws_lambda import scheduled
from mcpsite.aws_lambda.answers import Answer, form, sentence
from mcpsite.aws_lambda.doors import HttpEvent, request_of
from mcpsite.door.short_door import Application
from mcpsite.endpoint.conf import conf
from mcpsite.endpoint.loop import ServingLoop, close_loop, current_loop
from mcpsite.freezing import LONGEST_SECONDS, Thaw, reserved, time_is_over
from sessions_dynamo.tasks import kept

logger = logging.getLogger(__name__)

ACCEPTED: Final = (
    "This function answers HTTP requests of API Gateway (REST API, or HTTP API with payload format 1.0 or 2.0), of a"
    " function URL and of an Application Load Balancer, and events of a schedule: EventBridge's own, or"
    ' {"command": "sessions_expire", "arguments": []}.'
)


class UnknownEvent(Exception):
    """An event that is nothing that the function answers."""


class Function:
    """The site, for a runtime that brings one event at a time and freezes the process between two."""

    def __init__(self, site: Application) -> None:
        self._site = site
        self._loop = asyncio.new_event_loop()
        self._thaw = Thaw()

    def __call__(self, event: Any, context: Any) -> dict[str, Any]:
        """Answer one event. Raises what the served server's lifespan raised, where it could not be entered;
        ``UnknownEvent`` and ``MalformedEvent``; ``CommandFailed`` of a schedule's command."""
        given = event if isinstance(event, Mapping) else {}
        request = request_of(given, conf.MCP_BASE_PATH)
        if request is None:
            command = scheduled.asked(given)
            if command is None:
                keys = ", ".join(sorted(map(str, given))) or "none"
                logger.error("an event that is neither of a front door nor of a schedule; its keys: %s", keys)
                raise UnknownEvent(ACCEPTED)
            return scheduled.run(command, context)
        asyncio.set_event_loop(self._loop)
        answer = self._loop.run_until_complete(self._answer(request, request.scope(given, context), _seconds(context)))
        return form(answer, request)

    def close(self) -> None:
        """End what was begun on the loop, and its connections; the next event begins anew."""
        self._loop.run_until_complete(close_loop())

    async def _answer(self, request: HttpEvent, scope: dict[str, Any], seconds: float) -> Answer:
        self._thaw.awake()
        time = asyncio.get_running_loop().time
        kept_back = reserved(seconds)
        ends = time() + seconds - kept_back
        serving = await self._serving(ends - time())
        if serving is None:
            logger.error("the served MCP server's lifespan took all of the function's time")
            return _timed_out(seconds)
        call = _Call(self._site, request, scope)
        # A handler may run on when its client was let go.
        if not (await call.has_ended(ends - time()) and await serving.idle(ends - time())):
            logger.error(
                "a request was ended because the function's time was over: %s %r", request.method, request.path
            )
            was_cut_off = await serving.give_up(time_is_over(seconds), kept_back / 3)
            await call.end(kept_back / 5)
            if not call.answer.is_whole and not call.answer.is_stream:
                call.answer = _timed_out(seconds)
            elif was_cut_off and not call.answer.is_stream:
                call.answer.status = HTTPStatus.GATEWAY_TIMEOUT
        elif not call.answer.is_whole:
            call.answer = sentence(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal server error")
        await self._settle(ends + kept_back * 4 / 5 - time())
        return call.answer

    async def _serving(self, seconds: float) -> ServingLoop | None:
        """What belongs to the loop; ``None`` where it does not begin within so many seconds, and goes on beginning."""
        beginning = kept(current_loop())
        await asyncio.wait([beginning], timeout=seconds)
        return beginning.result() if beginning.done() else None

    async def _settle(self, seconds: float) -> None:
        """Write what is owed in so many seconds: events for others, records and metrics have a third each."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.1, seconds)):
                await self._thaw.settle(seconds / 3)


class _Call:
    """One request at the site."""

    def __init__(self, site: Application, request: HttpEvent, scope: dict[str, Any]) -> None:
        self.answer = Answer()
        self._request = request
        self._body = [request.body]
        self._has_left = asyncio.Event()

        async def serve() -> None:
            await site(scope, self._receive, self._send)

        # Kept: it may not end when it is told to.
        self._serving = kept(serve())

    async def has_ended(self, seconds: float) -> bool:
        """Wait for the site at most so long; whether it came to an end. How it failed is logged."""
        await asyncio.wait([self._serving], timeout=seconds)
        if not self._serving.done():
            return False
        failure = asyncio.CancelledError() if self._serving.cancelled() else self._serving.exception()
        if failure is not None and not self.answer.is_whole:
            logger.error("a request failed: %s %r", self._request.method, self._request.path, exc_info=failure)
        return True

    async def end(self, seconds: float) -> None:
        """Let the site say what it has to say yet, and cancel what does not end by itself; so long for each."""
        await asyncio.wait([self._serving], timeout=seconds)
        if not self._serving.done():
            self._has_left.set()
            self._serving.cancel()
            await asyncio.wait([self._serving], timeout=seconds)

    async def _receive(self) -> Any:
        if self._body:
            return {"type": "http.request", "body": self._body.pop(), "more_body": False}
        await self._has_left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.answer.take(message)
        if self.answer.is_whole:
            self._has_left.set()


def _timed_out(seconds: float) -> Answer:
    return sentence(HTTPStatus.GATEWAY_TIMEOUT, time_is_over(seconds))


def _seconds(context: Any) -> float:
    """What the function has left; without a clock of Lambda's, as in a test, the longest that it may have."""
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    return LONGEST_SECONDS if remaining is None else max(0.5, remaining() / 1000)
