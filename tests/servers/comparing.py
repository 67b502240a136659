"""One server object on both sides: the SDK's own app on uvicorn, and this site on uvicorn."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import uvicorn
from django.test import override_settings
from mcp.server.transport_security import TransportSecuritySettings

from sessions_dynamo import client
from sessions_dynamo.tables.setup import ensure_tables
from tests.engines import free_port, moto
from tests.mcpsite import site
from tests.servers.asking import Asked, Client, Seen, questions
from tests.servers.differences import Difference, explained
from tests.servers.source import Found

ERAS: Final = ("legacy", "modern")
START_SECONDS: Final = 20


@dataclass(frozen=True, slots=True)
class Unexplained:
    """An answer that differs and that no declared difference explains."""

    server: str
    asked: Asked
    theirs: Seen
    ours: Seen

    def __str__(self) -> str:
        return (
            f"{self.server}: {self.asked.era} {self.asked.method} {dict(self.asked.params or {})}\n"
            f"  the SDK: {self.theirs.status} {self.theirs.messages}\n"
            f"  here:    {self.ours.status} {self.ours.messages}"
        )


@dataclass(slots=True)
class Tally:
    """What came of comparing."""

    servers: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    """By era."""
    occurred: Counter[str] = field(default_factory=Counter)
    """Declared differences by what they say."""
    unexplained: list[Unexplained] = field(default_factory=list)


@contextmanager
def this_site() -> Iterator[str]:
    """The site's URL; it serves whatever ``MCP_SERVER`` says, over tables of its own."""
    unique = secrets.token_hex(4)
    names = {"DYNAMODB_SESSIONS_TABLE": f"sessions-{unique}", "DYNAMODB_EVENTS_TABLE": f"events-{unique}"}
    with moto() as url, override_settings(**names, RECORD_CALLS=False, ALLOWED_HOSTS=["*"]):
        before = os.environ.get("AWS_ENDPOINT_URL", "")
        os.environ["AWS_ENDPOINT_URL"] = url
        client.aws_client.cache_clear()
        try:
            ensure_tables()
            with _uvicorn(site.application(), lifespan="off") as origin:
                yield f"{origin}/mcp"
        finally:
            os.environ["AWS_ENDPOINT_URL"] = before
            client.aws_client.cache_clear()


def compare(found: Found, our_url: str, tally: Tally) -> None:
    """Ask both sides the same, in the same order, and count what differs."""
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    app = found.again().streamable_http_app(transport_security=security)
    tally.servers += 1
    with _uvicorn(app) as their_origin, override_settings(MCP_SERVER=found.setting):
        for era in ERAS:
            # Who lists is heard by both sides alike, and counts no id of those who ask.
            asked_of: list[Asked] = []
            for url in (our_url, f"{their_origin}/mcp"):
                lister = Client(url, era)
                lister.first()
                asked_of = list(questions(lister))
                lister.close()
            theirs, ours = Client(f"{their_origin}/mcp", era), Client(our_url, era)
            first = Asked(era, "first", "initialize" if era == "legacy" else "server/discover")
            _count(found, first, theirs.first(), ours.first(), tally)
            for asked in asked_of:
                _count(found, asked, theirs.ask(asked), ours.ask(asked), tally)
            theirs.close()
            ours.close()


def _count(found: Found, asked: Asked, theirs: Seen, ours: Seen, tally: Tally) -> None:
    tally.answers[asked.era] += 1
    theirs, ours = _without_ids(theirs), _without_ids(ours)
    used: list[Difference] | None = explained(asked, theirs, ours)
    if used is None:
        tally.unexplained.append(Unexplained(found.name, asked, theirs, ours))
    else:
        tally.occurred.update(difference.what for difference in used)


def _without_ids(seen: Seen) -> Seen:
    return Seen(
        seen.status,
        tuple(
            {**message, "id": "<id>"} if isinstance(message, dict) and "id" in message else message
            for message in seen.messages
        ),
    )


@contextmanager
def _uvicorn(app: Any, lifespan: Any = "on") -> Iterator[str]:
    port = free_port()
    config = uvicorn.Config(
        app, port=port, log_level="critical", lifespan=lifespan, timeout_graceful_shutdown=1, ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name=f"uvicorn-{port}", daemon=True)
    thread.start()
    try:
        begun = time.monotonic()
        while not server.started:
            if not thread.is_alive() or time.monotonic() - begun > START_SECONDS:
                raise RuntimeError("uvicorn did not start: the server's lifespan failed")
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(START_SECONDS)
