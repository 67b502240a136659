"""One request and its answer: uvicorn's, quiet about what is cancelled, and fair to the loop when the client left."""

from __future__ import annotations

import asyncio

from uvicorn._types import ASGI3Application, ASGISendEvent
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class Cycle(RequestResponseCycle):
    """One request and its answer."""

    async def run_asgi(self, app: ASGI3Application) -> None:
        """Run the application; what it leaves undone is a 500, or a connection that ends."""
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            self.transport.close()
            raise
        except Exception as exc:
            self.logger.error("Exception in ASGI application\n", exc_info=exc)
            await self._give_up()
        else:
            if not self.response_complete and not self.disconnected:
                self.logger.error("The ASGI application returned without a whole response.")
                await self._give_up()
        finally:
            self.on_response = _nothing

    async def send(self, message: ASGISendEvent) -> None:
        """Send; to a client that has left it does nothing, but lets the loop go on."""
        await super().send(message)
        # Closing: nothing is lost officially before the loop has had a turn.
        if self.disconnected or self.transport.is_closing():
            await asyncio.sleep(0)

    async def _give_up(self) -> None:
        if self.response_started:
            self.transport.close()
        else:
            await self.send_500_response()


def _nothing() -> None:
    """What follows an answer that is given."""
