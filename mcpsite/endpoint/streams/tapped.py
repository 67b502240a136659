"""A server's in-process bus with what is published to it led elsewhere first, for as long as somebody wants that.

The bus is the server object's, and so are those who publish: they find ``publish`` on the bus at each event. What
stands in for it does so on this one object, and is taken away again. A process may serve on several loops: each has its
own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from mcp.server.subscriptions import InMemorySubscriptionBus, ServerEvent

Publish = Callable[[ServerEvent], Awaitable[None]]


class _Tap:
    """Stands in for the ``publish`` of one bus."""

    def __init__(self, untapped: Publish) -> None:
        self.untapped = untapped
        self.takers: dict[asyncio.AbstractEventLoop, Publish] = {}

    async def __call__(self, event: ServerEvent) -> None:
        await self.takers.get(asyncio.get_running_loop(), self.untapped)(event)


def tap(bus: InMemorySubscriptionBus, take: Publish) -> tuple[Publish, Callable[[], None]]:
    """Have what is published on the running loop given to ``take``; the bus's own ``publish``, and what undoes this.

    Where another took it before on this loop, it is his no more.
    """
    stand_in = vars(bus).get("publish")
    if not isinstance(stand_in, _Tap):
        stand_in = vars(bus)["publish"] = _Tap(bus.publish)
    tapped, loop = stand_in, asyncio.get_running_loop()
    for ended in [each for each in tapped.takers if each.is_closed()]:
        del tapped.takers[ended]
    tapped.takers[loop] = take

    def untap() -> None:
        if tapped.takers.get(loop) == take:
            del tapped.takers[loop]
        if not tapped.takers and vars(bus).get("publish") is tapped:
            del vars(bus)["publish"]

    return tapped.untapped, untap
