"""Which files of a folder are in a build's context, by the rules of ``.dockerignore``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

Rule = tuple[re.Pattern[str], bool]
"""What a line matches, and whether it takes that out."""

UNWALKED: Final = frozenset({".git", ".venv", "node_modules"})
"""Large folders of ours that no line names; ``context_files`` refuses a file of rules that does."""


def context_files(folder: Path) -> Iterator[Path]:
    """The files, relative to the folder. The last line that matches a file, or a folder above it, decides."""
    rules = _rules(folder / ".dockerignore")
    for directory, names, files in os.walk(folder):
        names[:] = sorted(set(names) - UNWALKED)
        for name in sorted(files):
            path = (Path(directory) / name).relative_to(folder)
            if not _taken_out(path, rules):
                yield path


def _taken_out(path: Path, rules: list[Rule]) -> bool:
    candidates = [path.as_posix(), *(parent.as_posix() for parent in path.parents)][:-1]
    verdict = False
    for pattern, takes_out in rules:
        if any(pattern.fullmatch(candidate) for candidate in candidates):
            verdict = takes_out
    return verdict


def _rules(file: Path) -> list[Rule]:
    lines = [line.strip() for line in file.read_text().splitlines()] if file.exists() else []
    rules = [_rule(line) for line in lines if line and not line.startswith("#")]
    assert not file.exists() or not any(re.search(rf"(^|/){name}(/|$)", line) for name in UNWALKED for line in lines)
    return rules


def _rule(line: str) -> Rule:
    takes_out, pattern = not line.startswith("!"), line.removeprefix("!").strip("/")
    assert not set(pattern) & set("[]\\"), f"not understood in .dockerignore: {line}"
    expression = "".join(
        {"**/": "(.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(part, re.escape(part))
        for part in re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    )
    return re.compile(expression), takes_out
