"""Exports and imports of both tables: the JSON Lines format, its files, and both directions."""

__all__ = ["export_files", "export_format", "exports", "imports", "one_session"]
