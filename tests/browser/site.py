"""The site that the browser visits: two ``runserver`` over one embedded DynamoDB, and a database with accounts."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.test import override_settings

from tests.browser.seed import Seeded
from tests.conformance.processes import START_SECONDS, Children, DidNotStart, base_environment
from tests.live.servers import Server, runserver


@dataclass(frozen=True, slots=True)
class Site:
    """A running site of two processes. This process reaches the same DynamoDB through the stores' defaults."""

    server: Server
    """Serves the clients, and holds the DynamoDB."""
    url: str
    """Of the other process, which serves the pages; without a slash at its end."""
    seeded: Seeded


@contextmanager
def running(directory: Path) -> Iterator[tuple[Server, str]]:
    """The process for clients and the URL of the one for pages, both ready, with nothing stored.

    Meanwhile this process's settings point at their DynamoDB.
    """
    settings = {
        "DATABASE_URL": f"sqlite:///{directory / 'db.sqlite3'}",
        "MCP_SERVER": "tests.browser.server:mcp",
        "MCP_AUTH": "tests.live.servers_for_streams.by_name",
        # An emulator on a busy machine may answer later than a person waits.
        "DYNAMODB_PAGE_SECONDS": "30",
    }
    _make_accounts(settings["DATABASE_URL"], directory / "accounts.log")
    for name in ("clients", "pages"):
        (directory / name).mkdir()
    with runserver(directory / "clients", **settings) as server:
        port = server.env["DYNAMODB_EMBEDDED_PORT"]
        # The second finds the DynamoDB of the first. Apart, because an emulator that is in Python takes its time.
        with (
            runserver(directory / "pages", **settings, DYNAMODB_EMBEDDED_PORT=port) as pages,
            # Without a region of its own, as the site: the emulator keeps each region's tables apart.
            override_settings(DYNAMODB_EMBEDDED=True, DYNAMODB_EMBEDDED_PORT=int(port), AWS_REGION=""),
        ):
            yield server, pages.url.removesuffix("/mcp")


def _make_accounts(database: str, log: Path) -> None:
    children = Children()
    env = base_environment() | {
        "DEBUG": "true",
        "DATABASE_URL": database,
        "DJANGO_SETTINGS_MODULE": "mcpsite.settings",
        "AWS_CONFIG_FILE": os.devnull,
    }
    try:
        if children.start([sys.executable, "-m", "tests.browser.accounts"], env=env, log=log).wait(START_SECONDS):
            raise DidNotStart(f"The accounts were not made:\n{log.read_text()}")
    finally:
        children.close()
