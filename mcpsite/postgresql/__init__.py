"""Django's PostgreSQL with its pool of connections, for staff accounts and tokens: ``base`` is the database engine."""

__all__ = ["base", "options"]
