"""The same application behind API Gateway, a function URL or an ALB: ``mcpsite.lambda_handler.handler``.

A function's answer is one buffered body, and between two events the process is frozen. So the loop is ours: the served
server's lifespan is entered once, and what a call leaves to be written is written before its answer returns.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, cast

from mangum import Mangum

# A stream that stays open would hold the function until its time is over.
os.environ.setdefault("STREAM_SECONDS", "0")

from mcpsite.asgi import application
from mcpsite.endpoint.loop import current_loop

_loop = asyncio.new_event_loop()
# Its own lifespan is entered and left at every event.
_events = Mangum(cast("Any", application), lifespan="off")


def handler(event: Any, context: Any) -> dict[str, Any]:
    """Answer one event. Raises what the served server's lifespan raised, where it could not be entered."""
    asyncio.set_event_loop(_loop)
    serving = _loop.run_until_complete(current_loop())
    try:
        return _events(event, context)
    finally:
        _loop.run_until_complete(serving.settle())
