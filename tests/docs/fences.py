"""The fenced blocks of README and ``docs/``, each with the mark on the line before it that says what runs it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
OUTPUT: Final = frozenset({"text", "mermaid", "console"})
"""What is neither a command nor code: what a program prints, and pictures."""

_OPENING: Final = re.compile(r"(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>[^`]*)$")
_COMMENT: Final = re.compile(r" *<!-- *(.*?) *-->$")
_TITLE: Final = re.compile(r'\btitle="([^"]+)"')


@dataclass(frozen=True, slots=True)
class Fence:
    """A block: where it stands, what is behind its backticks, and its mark, empty where it has none."""

    page: str
    """From the root of the repository, such as ``docs/setup.md``."""
    line: int
    section: str
    """The ``##`` heading above it."""
    language: str
    tag: str
    """What stands behind the language."""
    text: str
    mark: str

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def how(self) -> str:
        """The word behind ``run:`` in its mark."""
        return self.mark.removeprefix("run: ").partition(" ")[0] if self.mark.startswith("run: ") else ""

    @property
    def preparation(self) -> str:
        """What is pasted before it, and the page leaves out."""
        return self.mark.partition(" after ")[2] if self.how == "shell" else ""

    @property
    def title(self) -> str:
        """The name of the file that the block is."""
        found = _TITLE.search(self.tag)
        return found[1] if found else ""


def pages() -> list[Path]:
    """README and every page of ``docs/``."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def fences(page: Path) -> Iterator[Fence]:
    """A page's blocks in their order; a block in a list or a tab loses its indent."""
    return blocks_of(page.read_text(), page.relative_to(ROOT).as_posix())


def blocks_of(text: str, name: str) -> Iterator[Fence]:
    """The blocks of a page's text."""
    section, lines = "", text.splitlines()
    opening, began = None, 0
    for number, line in enumerate(lines):
        if opening is not None:
            if line.strip() != opening["fence"]:
                continue
            language, _, tag = opening["info"].strip().partition(" ")
            body = dedent("".join(f"{inside}\n" for inside in lines[began + 1 : number]))
            yield Fence(name, began + 1, section, language, tag, body, _mark(lines[:began]))
            opening = None
        elif opening := _OPENING.match(line):
            began = number
        elif line.startswith("## "):
            section = line.removeprefix("## ")
    assert opening is None, f"{name}:{began + 1}: a block that does not end"


def _mark(before: list[str]) -> str:
    """The comment right above a block, an empty line between them or none."""
    above = next((line for line in reversed(before[-2:]) if line.strip()), "")
    found = _COMMENT.match(above)
    return found[1] if found else ""


def headings(page: Path) -> Iterator[str]:
    """A page's headings, without what only looks like one in a block."""
    fence = ""
    for line in page.read_text().splitlines():
        opening = _OPENING.match(line)
        if fence:
            fence = "" if line.strip() == fence else fence
        elif opening:
            fence = opening["fence"]
        elif found := re.match(r"#{1,6} (.+)$", line):
            yield found[1]
