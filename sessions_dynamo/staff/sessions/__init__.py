"""The pages of sessions: the list with its bulk actions, and one session with its state."""

__all__ = ["actions", "detail", "listing", "state"]
