"""What a request reads and writes: sessions with their state, events, and the record of served calls."""

__all__ = [
    "batches",
    "calls",
    "event_items",
    "events",
    "queries",
    "session_items",
    "sessions",
    "state",
    "times",
    "values",
]
