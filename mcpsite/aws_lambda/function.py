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
from mcpsite.freezing import Thaw

logger = logging.getLogger(__name__)

RESERVED_SECONDS: Final = 1.5
"""Of the function's time, or a fifth of it: to answer what ran too long, and to write what is owed."""
CANCEL_SECONDS: Final = 0.3
"""For what ran too long, to end."""

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
        ``UnknownEvent``; ``CommandFailed`` of a schedule's command."""
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
        ends = asyncio.get_running_loop().time() + seconds
        serving = await current_loop()
        answer = Answer()
        if not await self._within(request, scope, answer, seconds - min(RESERVED_SECONDS, seconds / 5)):
            await serving.give_up(CANCEL_SECONDS)
            logger.error(
                "a request was ended because the function's time was over: %s %r", request.method, request.path
            )
            if not answer.is_stream:
                answer = sentence(
                    HTTPStatus.GATEWAY_TIMEOUT,
                    f"The call was ended after {seconds:.0f} s, which is all that its function had. Its operator can"
                    " raise the function's timeout, or have the service run where calls may take longer:"
                    " docs/lambda.md.",
                )
        elif not answer.is_whole:
            answer = sentence(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal server error")
        await self._settle(serving, ends)
        return answer

    async def _within(self, request: HttpEvent, scope: dict[str, Any], answer: Answer, seconds: float) -> bool:
        """Have the site answer within so many seconds; whether it came to an end by then."""
        body, ended = [request.body], asyncio.Event()

        async def receive() -> Any:
            if body:
                return {"type": "http.request", "body": body.pop(), "more_body": False}
            await ended.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            answer.take(message)
            if answer.is_whole:
                ended.set()

        async def serve() -> None:
            await self._site(scope, receive, send)

        serving = asyncio.create_task(serve())
        await asyncio.wait([serving], timeout=seconds)
        if not serving.done():
            ended.set()
            serving.cancel()
            await asyncio.wait([serving], timeout=CANCEL_SECONDS)
            return False
        failure = asyncio.CancelledError() if serving.cancelled() else serving.exception()
        if failure is not None and not answer.is_whole:
            logger.error("a request failed: %s %r", request.method, request.path, exc_info=failure)
        return True

    async def _settle(self, serving: ServingLoop, ends: float) -> None:
        left = max(0.1, ends - asyncio.get_running_loop().time())
        with suppress(TimeoutError):
            async with asyncio.timeout(left):
                await self._thaw.settle(left)


def _seconds(context: Any) -> float:
    """What the function has left; without a clock of Lambda's, as in a test, the longest that it may have."""
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    return 900.0 if remaining is None else max(0.5, remaining() / 1000)
