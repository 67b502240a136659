"""The staff pages in the admin's shell, a room for each; here is what they share."""

__all__ = ["formats", "json_tree", "shell", "unfold_settings"]
