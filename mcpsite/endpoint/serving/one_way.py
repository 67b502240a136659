"""The channel of a session's client where an answer leaves whole: it is told, with the answer, and cannot be asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp.shared.dispatcher import CallOptions, Outbound
from mcp.shared.exceptions import NoBackChannelError

Params = Mapping[str, Any] | None


class CannotAsk(NoBackChannelError):
    """A handler asked a client whose answer cannot come while the call runs."""

    def __init__(self, method: str) -> None:
        super().__init__(method)
        # In place of the SDK's own words, of which nobody learns what to do.
        self.error.message = (
            f"This server cannot ask its client ({method}) while a call runs: it is an AWS Lambda function, whose"
            " answer leaves when it is whole. A client of revision 2026-07-28 can be asked, between two rounds of"
            " its call. For others, run the server where answers stream: behind the Lambda Web Adapter, or on ECS"
            " (docs/lambda.md)."
        )


class OneWayChannel:
    """Passes notifications on, and refuses requests."""

    can_send_request = False

    def __init__(self, channel: Outbound) -> None:
        self._channel = channel

    async def send_raw_request(self, method: str, params: Params, opts: CallOptions | None = None) -> dict[str, Any]:
        raise CannotAsk(method)

    async def notify(self, method: str, params: Params, opts: CallOptions | None = None) -> None:
        await self._channel.notify(method, params, opts)
