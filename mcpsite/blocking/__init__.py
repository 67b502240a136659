"""What blocks, called from the loop: in threads of ours, whose database connections are given back."""

__all__ = ["database", "threads"]
