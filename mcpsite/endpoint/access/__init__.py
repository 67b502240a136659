"""Who may come in: authentication, and the checks of Host and Origin."""

__all__ = ["auth", "bearer", "origins", "own"]
