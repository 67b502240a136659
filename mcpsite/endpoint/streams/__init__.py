"""Streams that survive their worker: what a handler sends while it runs, and what waits for a client.

Everything here but ``outbox`` and ``sse`` runs on the process's event loop. ``worker`` knows every stream of the
process and polls for all of them.
"""
