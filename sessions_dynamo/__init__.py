"""Durable MCP sessions, events and their tables in DynamoDB."""

__version__ = "0.1.0"
"""Of the distribution ``mcp-sessions``, which holds ``mcpsite`` too."""
