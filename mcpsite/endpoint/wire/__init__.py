"""What goes over the line: headers, bodies, messages, answers, event streams' frames. It reads no session."""

__all__ = ["answers", "body", "headers", "messages", "refusals", "sse"]
