"""Values that others keep on the sessions table under keys of their own: no session's."""

__all__ = ["store"]
