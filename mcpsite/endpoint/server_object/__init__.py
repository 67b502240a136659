"""The author's server object: where it is, and what it has besides handlers of MCP's messages."""

__all__ = ["authored", "http_app", "loading", "unserved"]
