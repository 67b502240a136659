"""The commands, and what they share: options, questions, progress and what they print."""

__all__: list[str] = []
