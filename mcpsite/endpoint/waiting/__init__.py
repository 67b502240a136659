"""What a request waits for: the store, driven on its loop, and threads for what blocks."""

__all__ = ["database", "storage", "threads"]
