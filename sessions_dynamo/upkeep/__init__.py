"""What keeps the tables in order: expiry, orphans, what needs attention, CloudWatch's readings, prices, status."""

__all__ = ["attention", "cloudwatch", "expiry", "pricing", "readings", "status"]
