"""``tree -L 2`` of what git holds: ``python -m tests.contracts.tree`` prints it for CONTRIBUTING.md."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEPTH = 2


def tree() -> str:
    """Two levels, without hidden names, as the command prints them."""
    held = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    paths = {tuple(name.split("/")[:DEPTH]) for name in held if (ROOT / name).exists()}
    visible = {path for path in paths if not any(part.startswith(".") for part in path)}
    return "\n".join([".", *_lines(visible, "")]) + "\n"


def _lines(paths: set[tuple[str, ...]], indent: str) -> Iterator[str]:
    names = sorted({path[0] for path in paths})
    for name in names:
        is_last = name == names[-1]
        yield f"{indent}{'└── ' if is_last else '├── '}{name}"
        below = {path[1:] for path in paths if path[0] == name and len(path) > 1}
        yield from _lines(below, indent + ("    " if is_last else "│   "))


if __name__ == "__main__":
    print(tree(), end="")
