"""Backups, on demand and to a point in time, and restores with what a restore loses."""

__all__ = ["descriptions", "jobs", "on_demand", "restore_sources", "restores"]
