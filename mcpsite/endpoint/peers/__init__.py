"""This process among the workers of the service: the one poller, and what it hears of the others and tells them."""

__all__ = [
    "bell",
    "bell_channels",
    "coalescing",
    "inbox",
    "lease",
    "news",
    "pace",
    "poller",
    "telling",
    "traces",
    "watch",
]
