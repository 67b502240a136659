"""Streamable HTTP as a Django view, over the SDK's kernel: its view, and the rooms behind it.

A request goes one way: ``views`` (HTTP), its era's module, ``serving.kernel`` (the protocol, on the process's event
loop), the store.
"""

__all__ = ["access", "conf", "loop", "own_routes", "tools", "views", "wire"]
