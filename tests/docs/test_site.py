"""The documentation builds without a warning, no link in it or in README is broken, and nothing is loaded from afar."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from posixpath import normpath
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import pytest
from pymdownx.slugs import slugify

from tests.docs.fences import ROOT, headings, pages

LOADED: Final = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""What a browser fetches by itself; of links to styles, icons and the like, not those that a reader follows."""
slug: Final = slugify(case="lower")


class Page(HTMLParser):
    """What of a built page others may point at, what it points at, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors |= {value for name in ("id", "name") if (value := given.get(name))}
        if tag == "a" and (link := given.get("href")):
            self.links.append(link)
        if (source := given.get(LOADED.get(tag, ""))) and given.get("rel") != "canonical":
            self.loaded.append(source)


@pytest.fixture(scope="module")
def built(documentation: Path) -> dict[str, Page]:
    """Its pages, by their paths below it; that for what is not found knows no folder it stands in."""
    found = {
        path.relative_to(documentation).as_posix(): Page(path.read_text()) for path in documentation.rglob("*.html")
    }
    del found["404.html"]
    return found


def test_no_link_of_the_site_is_broken(documentation: Path, built: dict[str, Page]) -> None:
    broken = []
    for name, page in built.items():
        for link in (*page.links, *page.loaded):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            folder = Path(name).parent.as_posix()
            target = normpath(f"{folder}/{unquote(parts.path)}") if parts.path else name
            target = f"{target}/index.html" if (documentation / target).is_dir() and target != "." else target
            missing = target not in built if parts.fragment else not (documentation / target).exists()
            if missing or (parts.fragment and unquote(parts.fragment) not in built[target].anchors):
                broken.append(f"{name}: {link}")
    assert broken == []
    assert {"readme.html", "settings.html"} <= set(built)


def test_nothing_is_loaded_from_elsewhere(documentation: Path, built: dict[str, Page]) -> None:
    assert {link for page in built.values() for link in page.loaded if urlsplit(link).netloc} == set()
    ours = (documentation / "assets" / "site.css").read_text()
    assert "url(" not in ours
    assert "@import" not in ours
    # The theme's script fetches Mermaid for blocks of this class, and only for them.
    assert not any('class="mermaid"' in (documentation / name).read_text() for name in built)


def test_pages_show_no_marks_and_no_unread_markdown(documentation: Path, built: dict[str, Page]) -> None:
    for name in built:
        text = (documentation / name).read_text()
        assert not re.search(r"<!-- (?:not )?run", text), name
        body = re.sub(r"<(pre|code|script)\b.*?</\1>", "", text, flags=re.DOTALL)
        assert not re.search(r"\]\([\w./-]+\.md|```", body), name


# --- The same links where the repository is read --------------------------------------------------------------


def _links(page: Path) -> Iterator[tuple[str, str]]:
    text = re.sub(r"^ *```.*?^ *```$|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not urlsplit(target).scheme:
            path, _, anchor = target.partition("#")
            yield path, anchor


def _anchors(page: Path) -> set[str]:
    found: dict[str, int] = {}
    anchors = set()
    for heading in headings(page):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", heading)
        name = str(slug(words, "-"))
        anchors.add(f"{name}-{found[name]}" if name in found else name)
        found[name] = found.get(name, 0) + 1
    return anchors


@pytest.mark.parametrize("page", [pytest.param(page, id=page.relative_to(ROOT).as_posix()) for page in pages()])
def test_no_link_is_broken_where_the_repository_is_read(page: Path, request: Any) -> None:
    broken = []
    for path, anchor in _links(page):
        target = page if not path else page.parent / path
        generated = "reference" in Path(path).parts or Path(path).name in ("readme.md", "changelog.md")
        if generated and page.name != "README.md":
            continue  # A page of the site alone: its links are looked at there.
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in _anchors(target)):
            broken.append(f"{path}#{anchor}")
    assert broken == []
