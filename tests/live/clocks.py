"""Processes whose clock is wrong: libfaketime has them read another time of day, and no other clock."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

PLACES: Final = ("/usr/lib/*/faketime", "/usr/lib*/faketime", "/usr/local/lib/faketime", "/opt/homebrew/lib/faketime")

SLEEP: Final = Path(__file__).with_name("faketime")
"""What has Python sleep in a way that libfaketime knows."""


class FaketimeMissing(Exception):
    """libfaketime is not installed; the message says how to install it."""


@cache
def library() -> Path:
    """Where libfaketime is. Raises ``FaketimeMissing``."""
    for place in PLACES:
        for found in sorted(Path("/").glob(f"{place[1:]}/libfaketimeMT.so.1")):
            return found
    raise FaketimeMissing("libfaketime is not installed: 'apt-get install faketime'")


def clock_off_by(seconds: int) -> dict[str, str]:
    """The environment of a process whose time of day is off by so much; its other clocks are right."""
    return {
        "LD_PRELOAD": str(library()),
        "PYTHONPATH": str(SLEEP),
        "FAKETIME": f"{seconds:+d}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        # Times of files are others'.
        "NO_FAKE_STAT": "1",
    }
