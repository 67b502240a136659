"""What stays open or waits in this process: streams, questions to clients, and the one poller that serves them.

All of it runs on the event loop but ``outbox`` and ``clients``, which are thread-safe.
"""

__all__ = ["channels", "held", "outbox", "owned", "transient", "worker"]
