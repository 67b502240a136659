"""Who serves the site by WSGI, as before, is told what to serve."""

from __future__ import annotations

import importlib
import sys

import pytest


def test_the_wsgi_module_refuses_and_says_what_to_serve() -> None:
    with pytest.raises(ImportError, match=r"mcpsite\.asgi:application.*gunicorn mcpsite\.asgi"):
        importlib.import_module("mcpsite.wsgi")
    assert "mcpsite.wsgi" not in sys.modules
