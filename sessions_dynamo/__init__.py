"""Durable MCP sessions, events and their tables in DynamoDB."""
