"""Tables of figures, as plain text."""

from __future__ import annotations

from collections.abc import Sequence


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
