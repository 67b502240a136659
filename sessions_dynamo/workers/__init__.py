"""What workers tell each other: leases, ends and inboxes of streams, clients' answers, and the bus."""

__all__ = ["bus", "replies", "roster", "stream_operations", "streams"]
