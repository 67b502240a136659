"""The staff page that calls a tool of the served server, and shows the exchange."""

__all__ = ["views"]
