"""The marker of the tests that run the official suite: ``-m "not conformance"`` leaves them out."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "conformance: runs the official conformance suite, for a minute or two")
