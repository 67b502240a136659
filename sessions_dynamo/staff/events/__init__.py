"""The pages of events and calls, of all sessions, live."""

__all__ = ["listing"]
