"""One module for each aspect of a table: what it should be, what it is, and the request that changes it."""

__all__ = [
    "billing",
    "change",
    "creation",
    "encryption",
    "indexes",
    "protection",
    "recovery",
    "replica_settings",
    "replicas",
    "scaling",
    "stream",
    "tags",
    "time_to_live",
]
