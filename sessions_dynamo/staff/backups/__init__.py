"""The pages of backups: make, delete and restore them."""

__all__ = ["pages"]
