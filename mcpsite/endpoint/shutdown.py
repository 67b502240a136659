"""A process that is told to stop: clients of open streams go elsewhere at once, running handlers get a grace period.

``gunicorn.conf.py`` calls these. Without them an open stream would hold the process for its whole graceful timeout.
"""

from __future__ import annotations

import signal
from types import FrameType

from mcpsite.endpoint.loop import running_loop


def release_clients_on(signal_number: signal.Signals) -> None:
    """Close streams with a ``retry`` hint when the signal arrives, then do what the process did with it before."""
    previous = signal.getsignal(signal_number)

    def handle(number: int, frame: FrameType | None) -> None:
        loop = running_loop()
        if loop is not None:
            loop.release_clients()
        if callable(previous):
            previous(number, frame)

    signal.signal(signal_number, handle)


def finish() -> None:
    """Let handlers finish whose clients left, and leave the server's lifespan."""
    loop = running_loop()
    if loop is not None:
        loop.close()
