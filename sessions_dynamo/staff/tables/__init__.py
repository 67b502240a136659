"""The page of tables: what stands, drift, and the button that mends it."""

__all__ = ["pages", "readings"]
