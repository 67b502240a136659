"""What a request reads and writes: sessions with their state, events, and the record of served calls."""

__all__ = [
    "batches",
    "calls",
    "event_items",
    "event_operations",
    "events",
    "live_update",
    "queries",
    "session_items",
    "session_operations",
    "sessions",
    "state",
    "times",
    "values",
]
