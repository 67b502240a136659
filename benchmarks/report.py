"""Tables of figures, as plain text."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime

from tests.conformance.processes import ROOT


def show_origin() -> None:
    """Print what was measured, when, and how busy the machine was already."""
    command = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)  # noqa: S603 (our own)
    loads = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    now = datetime.now(UTC)
    print(f"commit {commit.stdout.strip() or '?'}, {now:%Y-%m-%d %H:%M} UTC, load average {loads} of {os.cpu_count()}")


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column flush left, the figures flush right."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    print(f"\n{title}")
    for row in (columns, *rows):
        figures = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  " + "  ".join([row[0].ljust(widths[0]), *figures]))


def ratio(figure: float, of: float | None) -> str:
    """How many times ``of`` a figure is; a dash where there is nothing to compare with."""
    return f"{figure / of:.2f} x" if of else "-"
