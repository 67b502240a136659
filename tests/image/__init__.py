"""The container image without a container engine: its steps replayed in a bare Debian, and what they made run there."""
