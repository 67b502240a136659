"""Backups, on demand and to a point in time, and restores with what a restore loses."""

__all__ = ["daily", "descriptions", "jobs", "on_demand", "restore_sources", "restores"]
