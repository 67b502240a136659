"""One message through the SDK's kernel: the served server, the request, its session, and the record of the call."""

__all__ = [
    "dependencies",
    "kernel",
    "one_way",
    "param_headers",
    "record",
    "request",
    "served",
    "session",
    "session_argument",
]
