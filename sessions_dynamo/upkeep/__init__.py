"""Keeps the tables in order, and says how all stands: expiry, orphans, attention, workers, readings, prices, status."""

__all__ = ["attention", "cloudwatch", "expiry", "pricing", "readings", "roll_call", "status"]
