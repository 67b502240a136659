"""Notes for a team over two processes: a member's own in every client, over restarts, and nobody else's."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import anyio
import pytest

from tests.conformance.processes import ROOT
from tests.examples.callers import CallFailed, connected, every_kind_connected
from tests.live.stream_sites import StreamSite

EXAMPLE = "team_notes"
SETTINGS = {"MCP_AUTH": "django_mcpz.bearer_tokens.auth.token_auth"}

MAKE_TOKENS = """
from django.contrib.auth.models import User
from django_mcpz.bearer_tokens.models import Token

for name in ("ann", "bob"):
    print(name, Token.create(name=name, user=User.objects.create_user(name))[1])
"""
LONG = "x" * 5000
"""What is kept as an item of its own."""


@pytest.fixture(scope="module")
def tokens(site: StreamSite) -> dict[str, str]:
    """A bearer token for each member, by name."""
    command = [sys.executable, "manage.py", "shell", "--verbosity", "0", "-c", MAKE_TOKENS]
    made = subprocess.run(command, cwd=ROOT, env=site.env, capture_output=True, text=True, check=True)
    return dict(line.split() for line in made.stdout.splitlines())


def _texts(result: Any) -> list[str]:
    return [note["text"] for note in result["notes"]]


def test_a_member_finds_their_notes_again_and_a_conversation_its_own(site: StreamSite, tokens: dict[str, str]) -> None:
    first, second = site.ports

    async def use() -> None:
        async with every_kind_connected(site.url, token=tokens["ann"]) as clients:
            numbers = {}
            for ann in clients:
                tag = "-".join(ann.kind)
                assert ann.version == ("2025-11-25" if ann.kind[1] == "legacy" else "2026-07-28")
                milk, _ = [await ann.call("write_note", text=text, tags=[tag]) for text in ("milk", "bread")]
                numbers[tag] = milk["number"]
                assert await ann.call("jot", text="one") == {"jottings": ["one"]}

            await anyio.to_thread.run_sync(site.kill, first)
            for ann in clients:
                # The other process knows what the killed one was told.
                assert await ann.call("jot", text=LONG) == {"jottings": ["one", LONG]}
                assert _texts(await ann.call("list_notes", tag="-".join(ann.kind))) == ["milk", "bread"]

            await anyio.to_thread.run_sync(site.start, first)
            await anyio.to_thread.run_sync(site.kill, second)
            for ann in clients:
                tag = "-".join(ann.kind)
                assert _texts(await ann.call("keep_jottings", tags=[tag])) == ["one", LONG]
                await ann.call("delete_note", number=numbers[tag])

            await anyio.to_thread.run_sync(site.start, second)
            for ann in clients:
                with pytest.raises(CallFailed, match="Nothing is jotted down"):
                    await ann.call("keep_jottings")

        async with every_kind_connected(site.url, token=tokens["ann"]) as clients:
            for ann in clients:
                # A new conversation of the same member's.
                assert _texts(await ann.call("list_notes", tag="-".join(ann.kind))) == ["bread", "one", LONG]
                assert await ann.call("jot", text="new") == {"jottings": ["new"]}

        async with every_kind_connected(site.url, token=tokens["bob"]) as clients:
            for bob in clients:
                assert _texts(await bob.call("list_notes")) == []
                with pytest.raises(CallFailed, match="There is no note"):
                    await bob.call("delete_note", number=2)

    anyio.run(use)


def test_clients_that_write_at_once_lose_nothing(site: StreamSite, tokens: dict[str, str]) -> None:
    async def use() -> None:
        async with (
            connected(("mcp", "legacy"), site.url, token=tokens["ann"]) as one,
            connected(("fastmcp", "auto"), site.url, token=tokens["ann"]) as other,
        ):
            async with anyio.create_task_group() as tasks:
                for number in range(10):
                    for client in (one, other):
                        tasks.start_soon(_write, client, f"{client.kind[0]} {number}")
            expected = sorted(f"{library} {number}" for library in ("mcp", "fastmcp") for number in range(10))
            for client in (one, other):
                assert sorted(_texts(await client.call("list_notes", tag="at once"))) == expected

    async def _write(client: Any, text: str) -> None:
        await client.call("write_note", text=text, tags=["at once"])

    anyio.run(use)
