"""What workers leave for each other: their leases, inboxes and news, ends of streams, and traces of what runs."""

__all__ = ["holdings", "inboxes", "news", "replies", "roster", "standalone_operations", "stream_operations", "streams"]
