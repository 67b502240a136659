"""Whether FastMCP 4 is there to be served: tests skip loudly without it, and fail in CI."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest


def need_fastmcp() -> None:
    """Skip the module that calls this where FastMCP is not installed."""
    if find_spec("fastmcp") is None:
        reason = "FastMCP 4 is not installed: nothing of FastMCP's is served (it is in requirements-dev.txt)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason, allow_module_level=True)
