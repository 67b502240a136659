"""The dashboard and its charts."""

__all__ = ["dashboard"]
