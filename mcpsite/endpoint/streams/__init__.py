"""What stays open or waits in this process: streams, questions to clients, and the one poller that serves them."""

__all__ = ["channels", "held", "outbox", "owned", "transient", "worker"]
