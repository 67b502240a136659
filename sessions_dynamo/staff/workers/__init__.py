"""The page of the processes that serve."""

__all__ = ["pages"]
