"""What other workers have for this one: each message is given to whoever here it concerns."""

from __future__ import annotations

from mcpsite.endpoint.streams.awaited import AwaitedReplies
from mcpsite.endpoint.streams.held import HeldStreams
from mcpsite.endpoint.streams.running import Running
from sessions_dynamo.workers.inboxes import Message


class Hearing:
    """Acts on messages. One of a topic that this version does not know is let be."""

    def __init__(self, running: Running, replies: AwaitedReplies, held: HeldStreams) -> None:
        self._running = running
        self._replies = replies
        self._held = held

    def hear(self, message: Message) -> None:
        """Act on a message; it may be about what is over here."""
        match message.topic, message.payload:
            case "answer", [session_id, request_id, text]:
                self._replies.resolve((session_id, request_id), text)
            case "cancel", [session_id, request, numbers]:
                self._running.cancel((session_id, request), numbers)
            case "wake", [session_id, _]:
                self._held.wake_standalone(session_id)
            case "close", [session_id, name]:
                self._held.close_standalone(session_id, name)
            case "taken", [session_id, name]:
                self._held.take_standalone(session_id, name)
            case "lapsed", [stream_id]:
                self._held.lose(stream_id)
            case "ended", [session_id, hang_up]:
                self.end_session(session_id, hang_up=hang_up)

    def end_session(self, session_id: str, *, hang_up: bool) -> None:
        """Close what a session has open here, and cancel what runs for it; ``hang_up`` on whoever waits for that."""
        self._held.end_session(session_id)
        self._running.end_session(session_id, hang_up=hang_up)
