"""MkDocs' hooks: they add the generated pages, and have diagrams drawn here."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
# MkDocs loads this file by its path, and is started from anywhere.
sys.path.insert(0, str(ROOT))

SEARCH: Final = 'data-md-component="search" role="dialog"'


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Draw ``mermaid`` blocks as pictures; the theme's own way has the reader's browser load a script."""
    from docs_site import sequence

    superfences = config.mdx_configs.setdefault("pymdownx.superfences", {})
    superfences["custom_fences"] = [{"name": "mermaid", "class": "sequence", "format": sequence.fence}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is written from the code, under ``reference/``, and the repository's own pages."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcpsite.settings")
    # From Python 3.14 on argparse paints what it writes where the build runs in a terminal.
    os.environ["PYTHON_COLORS"] = "0"
    django.setup()
    from docs_site import commands, items, markdown, policies

    for page in (commands, items, policies):
        name = page.__name__.rpartition(".")[2]
        files.append(File.generated(config, f"reference/{name}.md", content=page.text()))
    for path in ("README.md", "CHANGELOG.md"):
        files.append(File.generated(config, markdown.PAGES[path], content=markdown.page_of(path)))
    return files


def on_page_markdown(text: str, page: Page, **_: Any) -> str:
    """A page of ``docs/`` without the comments that say which test runs a block, and with links that the site has."""
    from docs_site import markdown, settings

    source = page.file.src_uri
    if page.file.generated_by:
        return text
    text = settings.text() if source == settings.PAGE.name else text
    return markdown.for_site(text, f"docs/{source}", source)


def on_post_page(output: str, **_: Any) -> str:
    """A page whose search has a name, for who has it read out: the theme leaves it without one."""
    return output.replace(SEARCH, f'{SEARCH} aria-label="Search"', 1)
