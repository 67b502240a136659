"""The short way in under ASGI, for views that ask for it: their requests, and responses that stream."""

__all__ = ["base_path", "buffered", "event_stream", "request", "short_door"]
