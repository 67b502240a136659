"""What pages read: lists over the indexes, filters, timelines and their tails, activity, parallel scans."""

__all__ = [
    "activity",
    "at_workers",
    "entries",
    "event_list",
    "index_pages",
    "item_kinds",
    "scans",
    "session_filters",
    "session_list",
    "session_status",
    "stored",
    "tails",
    "timeline",
]
