"""What each client is driven through, in this order, and what a reading of a step is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

STEPS: Final[dict[str, str]] = {
    "connect": "the handshake, or discovery",
    "tools": "the five tools of this site, whose state comes back",
    "counters": "a counter, five times in turn and eight times at once: each number once",
    "progress": "three reports of progress during a call",
    "logging": "three log messages during a call, and none below the level that was set",
    "elicitation": "a form that is filled in during a call",
    "sampling": "a question to the client's model during a call",
    "roots": "a question for the client's roots during a call",
    "cancellation": "a call that is cancelled: the tool notices",
    "silence": "a call that reports once, then is silent for longer than three keep-alives: no error is logged",
    "restart": "every process killed with `kill -9` and started again: the session and its counter go on",
    "delete_in_flight": "leaving while a call is on its way: nothing is raised",
    "delete": "leaving ends the session on the server",
}
"""Steps by name, with what they are for a reader. ``connect`` is part of every run."""

HEADINGS: Final[dict[str, str]] = {"delete_in_flight": "DELETE in flight", "delete": "DELETE", "tools": "five tools"}


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of a step: ``ok`` is ``None`` where the client does not offer it, and ``detail`` says why."""

    ok: bool | None
    detail: str = ""
    on_sdk: str = ""
    """How the same step failed on the SDK's own server, where it failed here and there."""

    @property
    def is_clients_own(self) -> bool:
        """Whether it failed on either server."""
        return self.ok is False and bool(self.on_sdk)
