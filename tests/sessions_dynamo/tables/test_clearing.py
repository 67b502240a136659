from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from sessions_dynamo import schema
from sessions_dynamo.errors import StorageUnavailable, TableMissing
from sessions_dynamo.operations import run
from sessions_dynamo.store import batches
from sessions_dynamo.tables import clearing, describing
from sessions_dynamo.tables.clearing import Cleared
from sessions_dynamo.tables.names import NamedTable
from tests.sessions_dynamo.conftest import StoreTables
from tests.sessions_dynamo.support import Wire, raw_items
from tests.sessions_dynamo.wire import answering, error

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

THROTTLED = error("ProvisionedThroughputExceededException", "The level of configured throughput was exceeded.")


@pytest.fixture
def dynamodb(store_tables: StoreTables) -> DynamoDBClient:
    """The engine's client, over tables that are empty at first."""
    return store_tables.dynamodb


@pytest.fixture
def events(store_tables: StoreTables) -> NamedTable:
    return NamedTable(store_tables.events, schema.EVENTS)


@pytest.fixture
def sessions(store_tables: StoreTables) -> NamedTable:
    return NamedTable(store_tables.sessions, schema.SESSIONS)


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is throttled asks again at once."""
    monkeypatch.setattr(clearing, "random", SimpleNamespace(uniform=lambda *_: 0.0))


def event(number: int) -> dict[str, Any]:
    return {"session_id": {"S": f"s{number % 40}"}, "event_id": {"S": f"{number:05d}"}, "data": {"S": "x" * 100}}


def fill(dynamodb: DynamoDBClient, events: NamedTable, number: int) -> None:
    run(dynamodb, batches.put(events.name, (event(place) for place in range(number))))


@contextmanager
def hooked(dynamodb: DynamoDBClient, event: str, handler: Callable[..., None]) -> Iterator[None]:
    """Calls the handler at every such event of the client."""
    dynamodb.meta.events.register(event, handler)
    try:
        yield
    finally:
        dynamodb.meta.events.unregister(event, handler)


def test_deletes_every_item_and_counts_exactly(dynamodb: DynamoDBClient, events: NamedTable) -> None:
    fill(dynamodb, events, 360)

    assert clearing.clear(events, client=dynamodb) == Cleared(deleted=360, left=0)
    assert raw_items(dynamodb, events.name) == []
    assert clearing.clear(events, client=dynamodb) == Cleared(deleted=0, left=0)


def test_follows_each_segment_page_after_page(
    dynamodb: DynamoDBClient, events: NamedTable, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clearing, "PAGE", 30)
    fill(dynamodb, events, 360)

    assert clearing.clear(events, client=dynamodb, segments=4).deleted == 360

    scans = [scan for scan in wire.of("Scan") if "Segment" in scan]
    assert {scan["Segment"] for scan in scans} == {0, 1, 2, 3}
    assert len(scans) > 360 / 30
    assert raw_items(dynamodb, events.name) == []


def test_reads_consistently_and_keys_alone_and_deletes_in_full_batches(
    dynamodb: DynamoDBClient, events: NamedTable, wire: Wire
) -> None:
    fill(dynamodb, events, 60)
    written_before = len(wire.of("BatchWriteItem"))

    clearing.clear(events, client=dynamodb, segments=1)

    scan = wire.of("Scan")[0]
    assert scan["ConsistentRead"] is True
    assert scan["Limit"] == clearing.PAGE
    assert sorted(scan["ExpressionAttributeNames"].values()) == ["event_id", "session_id"]
    deletes = wire.of("BatchWriteItem")[written_before:]
    assert [len(request["RequestItems"][events.name]) for request in deletes] == [25, 25, 10]


def test_what_is_written_behind_the_scan_survives_and_is_counted(
    dynamodb: DynamoDBClient, sessions: NamedTable
) -> None:
    dynamodb.put_item(TableName=sessions.name, Item={"session_id": {"S": "old"}})

    def write(**_: Any) -> None:
        dynamodb.put_item(TableName=sessions.name, Item={"session_id": {"S": "late"}})

    # The only segment has been read to its end when its first batch is deleted.
    with hooked(dynamodb, "after-call.dynamodb.BatchWriteItem", write):
        cleared = clearing.clear(sessions, client=dynamodb, segments=1)

    assert cleared == Cleared(deleted=1, left=1)
    assert [item["session_id"]["S"] for item in raw_items(dynamodb, sessions.name)] == ["late"]


def test_what_a_live_writer_adds_is_deleted_or_counted(dynamodb: DynamoDBClient, events: NamedTable) -> None:
    fill(dynamodb, events, 300)
    stop, written = threading.Event(), [0]

    def write() -> None:
        while not stop.is_set():
            run(dynamodb, batches.put(events.name, [event(1000 + written[0])]))
            written[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    while written[0] < 5:
        time.sleep(0.005)
    counted: list[int] = []
    cleared = clearing.clear(events, client=dynamodb, heard=lambda deleted, _: counted.append(deleted))
    stop.set()
    writer.join()

    # The writer went on between the count and its end.
    assert 300 <= cleared.deleted <= 300 + written[0]
    assert cleared.deleted + cleared.left <= 300 + written[0]
    assert cleared.deleted + len(raw_items(dynamodb, events.name)) == 300 + written[0]
    assert counted[-1] == cleared.deleted


class TestThrottled:
    def test_asks_again_for_what_stays_unprocessed_and_counts_it_once(
        self, dynamodb: DynamoDBClient, sessions: NamedTable, no_pauses: None
    ) -> None:
        key = {"session_id": {"S": "one"}}
        dynamodb.put_item(TableName=sessions.name, Item=key)
        refused = {"UnprocessedItems": {sessions.name: [{"DeleteRequest": {"Key": key}}]}, "ResponseMetadata": {}}

        with answering(dynamodb, "BatchWriteItem", refused, times=2):
            cleared = clearing.clear(sessions, client=dynamodb)

        assert cleared == Cleared(deleted=1, left=0)
        assert raw_items(dynamodb, sessions.name) == []

    @pytest.mark.parametrize("operation", ["Scan", "BatchWriteItem"])
    def test_slows_down_and_goes_on_when_whole_requests_are_refused(
        self, dynamodb: DynamoDBClient, events: NamedTable, no_pauses: None, operation: str
    ) -> None:
        fill(dynamodb, events, 60)

        with answering(dynamodb, operation, THROTTLED, times=30):
            cleared = clearing.clear(events, client=dynamodb)

        assert cleared == Cleared(deleted=60, left=0)

    def test_pauses_grow_to_a_longest(
        self, dynamodb: DynamoDBClient, events: NamedTable, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill(dynamodb, events, 1)
        longest: list[float] = []

        def uniform(_: float, high: float) -> float:
            longest.append(high)
            return 0.0

        monkeypatch.setattr(clearing, "random", SimpleNamespace(uniform=uniform))
        with answering(dynamodb, "BatchWriteItem", THROTTLED, times=60):
            clearing.clear(events, client=dynamodb, segments=1)

        assert longest == sorted(longest)
        assert (longest[0], longest[-1]) == (0.1, 12.8)

    def test_gives_up_when_nothing_is_taken_for_long_and_says_what_to_do(
        self, dynamodb: DynamoDBClient, events: NamedTable, no_pauses: None
    ) -> None:
        fill(dynamodb, events, 60)

        with (
            answering(dynamodb, "BatchWriteItem", THROTTLED, times=1_000_000),
            pytest.raises(StorageUnavailable, match="Raise the table's capacity or make it pay per request"),
        ):
            clearing.clear(events, client=dynamodb, patience=0.05)

        assert len(raw_items(dynamodb, events.name)) == 60


class TestCutShort:
    def test_an_error_in_one_thread_ends_all_and_the_count_is_exact(
        self, dynamodb: DynamoDBClient, events: NamedTable
    ) -> None:
        fill(dynamodb, events, 360)
        calls = iter(range(1000))

        def fail(**_: Any) -> None:
            if next(calls) == 5:
                raise KeyboardInterrupt

        heard: list[int] = []
        with hooked(dynamodb, "before-call.dynamodb.BatchWriteItem", fail), pytest.raises(KeyboardInterrupt):
            clearing.clear(events, client=dynamodb, heard=lambda deleted, _: heard.append(deleted))

        left = len(raw_items(dynamodb, events.name))
        assert 0 < left < 360
        assert heard[-1] == 360 - left
        assert clearing.clear(events, client=dynamodb) == Cleared(deleted=left, left=0)

    def test_a_refusal_that_does_not_pass_is_raised_at_once(self, dynamodb: DynamoDBClient, events: NamedTable) -> None:
        fill(dynamodb, events, 60)
        denied = error("AccessDeniedException", "not authorized to perform: dynamodb:BatchWriteItem on it")

        with (
            answering(dynamodb, "BatchWriteItem", denied, times=1_000_000),
            pytest.raises(StorageUnavailable, match="dynamodb:BatchWriteItem"),
        ):
            clearing.clear(events, client=dynamodb)

    def test_a_table_that_is_not_there_is_named(self, dynamodb: DynamoDBClient) -> None:
        with pytest.raises(TableMissing, match="no-such-table"):
            clearing.clear(NamedTable("no-such-table", schema.EVENTS), client=dynamodb)


def test_a_table_with_other_keys_is_refused_by_both_keys(store_tables: StoreTables) -> None:
    named_wrongly = NamedTable(store_tables.events, schema.SESSIONS)
    live = describing.describe(store_tables.events, store_tables.dynamodb)

    with pytest.raises(clearing.ForeignTable, match=r"session_id \(S\), event_id \(S\), not session_id \(S\)"):
        clearing.refuse_if_foreign(named_wrongly, live)
    clearing.refuse_if_foreign(NamedTable(store_tables.events, schema.EVENTS), live)
