"""Rounds of a test that stops an owner: calls that pour events, all who read them, and what is stored of them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import boto3

from sessions_dynamo import schema, worker_keys
from sessions_dynamo.schema import EventKind
from sessions_dynamo.store.event_items import Event
from sessions_dynamo.store.events import EventStore
from tests.live.stream_client import Client, Frame, Stream
from tests.live.stream_sites import StreamSite

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PATIENCE_SECONDS: Final = 60.0


def until(is_so: Callable[[], bool], what: str) -> None:
    """Wait until something is so; it must be within ``PATIENCE_SECONDS``."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)


def dynamodb_of(site: StreamSite) -> DynamoDBClient:
    """A client of a site's own DynamoDB."""
    client: DynamoDBClient = boto3.client(
        "dynamodb",
        region_name=site.env["AWS_REGION"],
        endpoint_url=site.env["AWS_ENDPOINT_URL"],
        aws_access_key_id=site.env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=site.env["AWS_SECRET_ACCESS_KEY"],
    )
    return client


def event_store(site: StreamSite, dynamodb: DynamoDBClient, max_events: int = 1_000_000) -> EventStore:
    """The store of a site's events, which keeps so many of a session."""
    table = site.env["DYNAMODB_EVENTS_TABLE"]
    return EventStore(dynamodb, table, event_ttl=timedelta(hours=1), max_events=max_events)


def read_on(stream: Stream) -> list[Frame]:
    """Every event that a response still has."""
    with stream:
        return [frame for frame in stream.read() if frame.data]


@dataclass
class Reading:
    """What one reader was given after a cursor."""

    cursor: str
    port: int
    frames: Future[list[Frame]]


@dataclass
class Round:
    """One call on the owner, and all who read its stream."""

    client: Client
    request: dict[str, Any]
    stream: Stream
    readings: list[Reading] = field(default_factory=list)

    @classmethod
    def begin(cls, site: StreamSite, owner: int, finish: Path) -> Round:
        """A call that pours events until there is a file."""
        client = Client(site)
        request = client.message("tools/call", {"name": "pour_until", "arguments": {"path": str(finish)}})
        return cls(client, request, client.send_to(owner, request))

    @property
    def session_id(self) -> str:
        return self.client.headers["Mcp-Session-Id"]

    @property
    def cursors(self) -> list[str]:
        """Of what its own client has read so far, the first that of the priming event."""
        return [frame.event_id for frame in list(self.stream.frames) if frame.event_id]

    @property
    def stream_id(self) -> str:
        position = schema.parse_event_id(self.cursors[0])
        assert position is not None
        return position[0]

    def go_on(self, pool: Executor) -> None:
        """Its own client reads on, which is a reader like any other."""
        cursor = self.cursors[-1]
        self.readings.append(Reading(cursor, 0, pool.submit(read_on, self.stream)))

    def resume(self, pool: Executor, port: int, chance: random.Random, *, whole: bool = False) -> None:
        """Read it on a worker: from a cursor by chance, or from its first."""
        cursor = self.cursors[0] if whole else chance.choice(self.cursors)
        self.readings.append(Reading(cursor, port, pool.submit(self._resumed, port, cursor)))

    def is_over(self, events: EventStore) -> bool:
        """Whether neither its call nor anybody who follows it has left word of itself, or all took it back."""
        keys = [item["event_id"]["S"] for item in events.drive(events.operations.item_keys(self.session_id))]
        return not any(key.startswith(worker_keys.HOLDING_PREFIX) for key in keys)

    def stored(self, events: EventStore) -> list[Event]:
        """What its stream is to whoever asks the store."""
        return events.after(self.session_id, self.cursors[0])

    def stored_keys(self, events: EventStore) -> list[str]:
        """The keys of every event's item, of whichever place."""
        keys = [item["event_id"]["S"] for item in events.drive(events.operations.item_keys(self.session_id))]
        kinds = (EventKind.EVENT, EventKind.END)
        return [key for key in keys if schema.kind_of(self.session_id, key) in kinds]

    def _resumed(self, port: int, cursor: str) -> list[Frame]:
        """What a reader has of it by its end: one that is more than 1,000 events behind is sent away in between."""
        frames: list[Frame] = []
        while not cursor.endswith(".~"):
            stream = self.client.get(port, cursor)
            assert stream.status == 200, (port, cursor, stream.json())
            given = read_on(stream)
            assert given, f"{port} gave nothing after {cursor}, and no end"
            frames += given
            cursor = str(frames[-1].event_id)
        return frames
