"""Streamable HTTP as a Django view, over the SDK's kernel.

A request goes one way: ``views`` (HTTP) to ``kernel`` (the protocol, on the process's event loop) to the store.
"""
