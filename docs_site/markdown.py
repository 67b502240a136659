"""Pieces of Markdown that the generated pages are made of, and the repository's own pages as pages of the site."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from posixpath import normpath, relpath
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]

PAGES: Final = {
    "README.md": "readme.md",
    "CHANGELOG.md": "changelog.md",
    "deploy/iam/README.md": "reference/policies.md",
}
"""Files of the repository that are pages of the site besides those of ``docs/``, by their path."""

_LINK: Final = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_FENCE: Final = re.compile(r"^( *)```(\w+) [^\n=]*$", re.MULTILINE)
_MARK: Final = re.compile(r"^ *<!-- (?:not )?run(?: by)?\b.*? -->\n", re.MULTILINE)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a cell may hold Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", r"\|").split())


def code(text: str) -> str:
    """A text as code; nothing for an empty one."""
    return f"`{text}`" if text else ""


def page_of(path: str) -> str:
    """A file of the repository as a page of the site."""
    return for_site((ROOT / path).read_text(), path, PAGES[path])


def for_site(text: str, path: str, page: str) -> str:
    """The text of a file as that of a page: its links lead to pages of the site, or name the repository's file."""
    base = str(Path(path).parent)
    text = _FENCE.sub(r"\1```\2", _MARK.sub("", text))
    return _outside_blocks(text, lambda part: _LINK.sub(lambda link: _link(link, base, page), part))


def _outside_blocks(text: str, change: Callable[[str], str]) -> str:
    parts = re.split(r"(^ *```.*?^ *```$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.lstrip().startswith("```") else change(part) for part in parts)


def _link(found: re.Match[str], base: str, here: str) -> str:
    picture, words, target = found.groups()
    path, mark, anchor = target.partition("#")
    if re.match(r"\w+:", target) or not path:
        return found[0]
    file = normpath(f"{base}/{path}")
    if file.startswith("docs/"):
        page = file.removeprefix("docs/")
    elif re.fullmatch(r"deploy/iam/[\w-]+\.json", file):
        page, mark, anchor = PAGES["deploy/iam/README.md"], "#", Path(file).stem
    elif file in PAGES or file == "deploy/iam":
        page = PAGES.get(file) or PAGES["deploy/iam/README.md"]
    elif not (ROOT / file).exists():
        return found[0]  # MkDocs says that there is no such page.
    else:
        return words if words.strip("`") in (file, f"{file}/") else f"{words} (`{file}`)"
    if page == here and anchor:
        return f"[{words}](#{anchor})"
    return f"{picture}[{words}]({relpath(page, str(Path(here).parent))}{mark}{anchor})"
