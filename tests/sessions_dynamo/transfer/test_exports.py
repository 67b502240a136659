"""Exports and imports: whole, exact, in bounded memory, and never over what stands; on each engine."""

from __future__ import annotations

import gzip
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.test import override_settings

from sessions_dynamo import client, schema
from sessions_dynamo.errors import SessionNotFound, StorageUnavailable, TableMissing
from sessions_dynamo.operations import run
from sessions_dynamo.reading import scans
from sessions_dynamo.schema import EventKind
from sessions_dynamo.store import batches
from sessions_dynamo.store.events import EventStore
from sessions_dynamo.store.sessions import SessionStore
from sessions_dynamo.store.state import Spilled
from sessions_dynamo.tables.names import named_tables
from sessions_dynamo.tables.setup import ensure_tables
from sessions_dynamo.transfer import exports
from sessions_dynamo.transfer.export_files import PARTIAL_SUFFIX, written_whole
from sessions_dynamo.transfer.export_format import ExportDamaged, TableKind
from sessions_dynamo.transfer.exports import Tally, export_session, export_tables
from sessions_dynamo.transfer.imports import ImportStopped, check, load
from tests.conftest import start_or_skip
from tests.engines import DYNAMODB_LOCAL, MOTO
from tests.sessions_dynamo.exported import (
    OF_THE_MOMENT,
    Both,
    both_tables,
    contents,
    make_every_kind,
    make_many,
    put_of_the_moment,
)
from tests.sessions_dynamo.support import Clock, Wire, raw_items, state_of
from tests.sessions_dynamo.wire import answering, error

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

LARGE = "x" * 5000


@pytest.fixture
def both(session_store: SessionStore, event_store: EventStore) -> Both:
    """The stores' tables."""
    return both_tables(session_store, event_store)


@pytest.fixture
def names(both: Both) -> dict[TableKind, str]:
    """What an import writes to."""
    return {"sessions": both[0].name, "events": both[1].name}


@pytest.fixture
def dynamodb(session_store: SessionStore) -> DynamoDBClient:
    return session_store.dynamodb


def exported(dynamodb: DynamoDBClient, both: Both, **more: Any) -> bytes:
    """The bytes of an export's file."""
    return "".join(export_tables(both, client=dynamodb, **more)).encode()


def lines_of(export: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in export.split(b"\n")[:-1]]


def empty(dynamodb: DynamoDBClient, both: Both) -> None:
    for table in both:
        keys = [{key.name: item[key.name] for key in table.schema.keys} for item in raw_items(dynamodb, table.name)]
        run(dynamodb, batches.delete(table.name, keys))


# --- From one engine to the other -----------------------------------------------------------------------------


@contextmanager
def tables_on(url: str) -> Iterator[tuple[DynamoDBClient, Both]]:
    """Both tables, empty, on an engine."""
    unique = {"DYNAMODB_SESSIONS_TABLE": "sessions-copy", "DYNAMODB_EVENTS_TABLE": "events-copy"}
    with pytest.MonkeyPatch.context() as patch, override_settings(**unique):
        patch.setenv("AWS_ENDPOINT_URL", url)
        client.aws_client.cache_clear()
        dynamodb = client.dynamodb()
        ensure_tables(client=dynamodb)
        both = named_tables()
    yield dynamodb, both
    for table in both:
        dynamodb.delete_table(TableName=table.name)


@pytest.mark.parametrize("segments", [1, 4], ids=["one segment", "four segments"])
@pytest.mark.parametrize("way", [(MOTO, DYNAMODB_LOCAL), (DYNAMODB_LOCAL, MOTO)], ids="-to-".join)
def test_every_item_of_one_engine_arrives_on_the_other_as_it_was(
    way: tuple[str, str], segments: int, start_engine: Callable[[str], str]
) -> None:
    with ExitStack() as stack:
        (source, here), (target, there) = (
            stack.enter_context(tables_on(start_or_skip(name, start_engine)[1])) for name in way
        )
        sessions = SessionStore(
            source, here[0].name, session_ttl=timedelta(hours=24), terminated_ttl=timedelta(hours=6)
        )
        events = EventStore(source, here[1].name, event_ttl=timedelta(hours=6), max_events=1000)
        make_every_kind(sessions, events)
        make_many(sessions, events, 150)
        export = exported(source, here, segments=segments)

        assert check(io.BytesIO(export)).truncated is None
        tally = load(io.BytesIO(export), {"sessions": there[0].name, "events": there[1].name}, client=target)

        before, after = contents(source, here), contents(target, there)
        assert after == before
        assert tally.written.total() == sum(map(len, before.values()))
        assert sum(map(len, before.values())) > 150 * 4


# --- Export ---------------------------------------------------------------------------------------------------


def test_an_export_begins_with_its_origin_and_ends_with_its_counts(
    session_store: SessionStore, event_store: EventStore, dynamodb: DynamoDBClient, both: Both
) -> None:
    make_every_kind(session_store, event_store)
    first, *items, last = lines_of(exported(dynamodb, both))
    assert first["Header"]["Format"] == "mcp-sessions-export"
    assert first["Header"]["Tables"] == {"sessions": both[0].name, "events": both[1].name}
    counted = {kind: sum(item["Table"] == kind for item in items) for kind in ("sessions", "events")}
    assert last == {"Trailer": {"Items": counted}}
    assert counted["sessions"] == 7


def test_what_workers_tell_each_other_and_large_values_that_nothing_points_to_are_left_out_and_counted(
    session_store: SessionStore, event_store: EventStore, dynamodb: DynamoDBClient, both: Both
) -> None:
    make_every_kind(session_store, event_store)
    unused = schema.spilled_value_id("full", "lost")
    dynamodb.put_item(TableName=both[0].name, Item={"session_id": {"S": unused}, "value": {"S": "1"}})
    tally = Tally()
    export = exported(dynamodb, both, tally=tally)
    assert (tally.sessions, tally.values, tally.unused_values) == (2, 2, 1)
    assert tally.of_the_moment == OF_THE_MOMENT
    assert tally.bytes == len(export)
    assert unused.encode() not in export
    kinds = {
        schema.kind_of(line["Item"]["session_id"]["S"], line["Item"]["event_id"]["S"])
        for line in lines_of(export)[1:-1]
        if line["Table"] == "events"
    }
    assert kinds == set(EventKind) - schema.OF_THE_MOMENT


def test_a_session_that_changes_while_it_is_exported_comes_with_the_values_it_points_to(
    session_store: SessionStore,
    dynamodb: DynamoDBClient,
    both: Both,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = session_store.create("busy", state=state_of(report=LARGE))
    scan = scans.segment_pages

    def changed_behind_the_scan(*args: Any, **more: Any) -> Iterator[list[dict[str, Any]]]:
        for page in scan(*args, **more):
            session.state["report"] = LARGE + str(session.state["report"])
            session_store.save(session)
            yield page

    monkeypatch.setattr(scans, "segment_pages", changed_behind_the_scan)
    items = [line["Item"] for line in lines_of(exported(dynamodb, both))[1:-1]]
    stored = {item["session_id"]["S"]: item for item in items}
    [entry] = stored["busy"]["state"]["M"].values()
    assert entry["M"]["item_id"]["S"] in stored
    assert len(items) == 2


def test_a_value_that_does_not_exist_is_told_and_its_session_exported(
    session_store: SessionStore, dynamodb: DynamoDBClient, both: Both
) -> None:
    session = session_store.create("torn", state=state_of(report=LARGE))
    [entry] = session.state.entries.values()
    assert isinstance(entry, Spilled)
    dynamodb.delete_item(TableName=both[0].name, Key={"session_id": {"S": entry.item_id}})
    tally = Tally()
    exported(dynamodb, both, tally=tally)
    assert (tally.sessions, tally.missing_values) == (1, 1)


def test_items_are_read_consistently(
    session_store: SessionStore, event_store: EventStore, dynamodb: DynamoDBClient, both: Both, wire: Wire
) -> None:
    make_every_kind(session_store, event_store)
    exported(dynamodb, both)
    assert {params["TableName"] for params in wire.of("Scan")} == {table.name for table in both}
    assert all(params["ConsistentRead"] for params in wire.of("Scan"))


@pytest.mark.parametrize("segments", [1, 3])
def test_an_error_ends_an_export_before_its_trailer(
    session_store: SessionStore, dynamodb: DynamoDBClient, both: Both, segments: int
) -> None:
    session_store.create("a")
    lines = export_tables(both, client=dynamodb, segments=segments)
    assert "Header" in next(lines)
    with answering(dynamodb, "Scan", error("AccessDeniedException")), pytest.raises(StorageUnavailable):
        list(lines)


@pytest.mark.parametrize("segments", [1, 3])
def test_a_throttled_export_waits_and_goes_on(
    session_store: SessionStore,
    dynamodb: DynamoDBClient,
    both: Both,
    monkeypatch: pytest.MonkeyPatch,
    segments: int,
) -> None:
    monkeypatch.setattr(scans, "PAGE_ITEMS", 1)
    for number in range(9):
        session_store.create(f"s{number}")
    pages = scans.all_pages(dynamodb, both[0].name, segments=segments)
    items = [*next(pages)]
    with answering(dynamodb, "Scan", error("ThrottlingException"), times=1):
        items += [item for page in pages for item in page]
    assert sorted(item["session_id"]["S"] for item in items) == [f"s{number}" for number in range(9)]


def test_an_export_that_is_dropped_half_way_ends_its_threads(
    session_store: SessionStore, event_store: EventStore, dynamodb: DynamoDBClient, both: Both
) -> None:
    make_every_kind(session_store, event_store)
    before = set(threading.enumerate())
    with closing(scans.all_pages(dynamodb, both[1].name, segments=3)) as pages:
        next(pages)
    assert {thread for thread in threading.enumerate() if thread.name.startswith("scan-")} <= before


# --- One session ----------------------------------------------------------------------------------------------


def test_one_session_comes_with_its_values_its_regions_and_its_events(
    session_store: SessionStore, event_store: EventStore, dynamodb: DynamoDBClient, both: Both
) -> None:
    make_every_kind(session_store, event_store)
    event_store.store("ended", "notifications/message", "{}")
    first, *lines, last = lines_of("".join(export_session("full", both, client=dynamodb)).encode())
    assert first["Header"]["Session"] == "full"
    keys = [line["Item"]["session_id"]["S"] for line in lines if line["Table"] == "sessions"]
    # A value stands before the session that points to it.
    assert sorted(key.split("#")[1] for key in keys[:2]) == ["huge", "large"]
    assert keys[2:] == ["full", "full##us-west-2"]
    sort_keys = [line["Item"]["event_id"]["S"] for line in lines if line["Table"] == "events"]
    # But for what its workers told each other: that it runs there, and that it was cancelled.
    assert len(sort_keys) == len(event_store.item_keys("full")) - 2
    assert last["Trailer"]["Items"] == {"sessions": 4, "events": len(sort_keys)}


def test_what_is_left_of_a_session_that_is_gone_can_be_exported(
    event_store: EventStore, dynamodb: DynamoDBClient, both: Both
) -> None:
    event_store.store("gone", "notifications/message", "{}")
    lines = lines_of("".join(export_session("gone", both, client=dynamodb)).encode())
    assert lines[-1]["Trailer"]["Items"] == {"sessions": 0, "events": 1}


def test_what_workers_of_one_session_tell_each_other_is_left_out_and_counted(
    event_store: EventStore, dynamodb: DynamoDBClient, both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_of_the_moment(event_store, "gone")
    with pytest.raises(SessionNotFound):
        export_session("gone", both, client=dynamodb)
    monkeypatch.setattr(exports, "FIRST", 1)
    event_store.drive(
        batches.put(event_store.table, [{"session_id": {"S": "gone"}, "event_id": {"S": schema.reply_id("7")}}])
    )
    tally = Tally()
    lines = lines_of("".join(export_session("gone", both, client=dynamodb, tally=tally)).encode())
    assert lines[-1]["Trailer"]["Items"] == {"sessions": 0, "events": 1}
    assert tally.of_the_moment == 2


@pytest.mark.parametrize("session_id", ["unknown", "#bus", "#workers", "#inbox.0123456789ab", "full#large", ""])
def test_an_unknown_session_is_refused_before_the_first_line(
    session_store: SessionStore, event_store: EventStore, dynamodb: DynamoDBClient, both: Both, session_id: str
) -> None:
    make_every_kind(session_store, event_store)
    with pytest.raises(SessionNotFound, match="no session"):
        export_session(session_id, both, client=dynamodb)


# --- Import ---------------------------------------------------------------------------------------------------


@pytest.fixture
def export(session_store: SessionStore, event_store: EventStore, dynamodb: DynamoDBClient, both: Both) -> bytes:
    """An export of every kind of item; its items are gone from the tables."""
    make_every_kind(session_store, event_store)
    export = exported(dynamodb, both)
    empty(dynamodb, both)
    return export


def test_an_import_that_is_run_again_writes_nothing(
    export: bytes, dynamodb: DynamoDBClient, names: dict[TableKind, str], wire: Wire
) -> None:
    first = load(io.BytesIO(export), names, client=dynamodb)
    with wire.counting() as requests:
        second = load(io.BytesIO(export), names, client=dynamodb)
    assert "BatchWriteItem" not in requests
    assert (second.written.total(), second.different) == (0, 0)
    assert second.standing == first.written


def test_an_import_that_was_stopped_goes_on_where_it_was(
    export: bytes,
    dynamodb: DynamoDBClient,
    both: Both,
    names: dict[TableKind, str],
    session_store: SessionStore,
    event_store: EventStore,
) -> None:
    lines = export.split(b"\n")
    half = b"\n".join(lines[: len(lines) // 2]) + b"\n"
    begun = load(io.BytesIO(half), names, client=dynamodb)
    finished = load(io.BytesIO(export), names, client=dynamodb)
    assert finished.standing.total() == begun.written.total() > 0
    assert exported(dynamodb, both).count(b"\n") == export.count(b"\n")
    assert session_store.load("full", "user:1").state["large"] == LARGE
    assert event_store.count("full") == 3


def test_what_stands_otherwise_is_left_and_named_unless_it_shall_be_overwritten(
    export: bytes, dynamodb: DynamoDBClient, names: dict[TableKind, str], session_store: SessionStore
) -> None:
    session_store.create("full", principal="user:2")
    tally = load(io.BytesIO(export), names, client=dynamodb)
    assert tally.different == 1
    [conflict] = tally.conflicts
    assert conflict.key == ("full",)
    assert json.loads(export.split(b"\n")[conflict.number - 1])["Item"]["session_id"] == {"S": "full"}
    assert session_store.load("full", "user:2")

    assert load(io.BytesIO(export), names, client=dynamodb, overwrite=True).different == 0
    assert session_store.load("full", "user:1").counters == {"calls": 10**30}


def test_a_dry_run_writes_nothing_and_tells_what_would_be_written(
    export: bytes, dynamodb: DynamoDBClient, both: Both, names: dict[TableKind, str], session_store: SessionStore
) -> None:
    session_store.create("ended")
    counted = load(io.BytesIO(export), names, client=dynamodb, dry_run=True)
    assert counted.different == 1
    assert counted.written.total() == export.count(b"\n") - 3
    assert len(raw_items(dynamodb, both[0].name)) == 1


def test_what_has_expired_is_told_and_lives_on_when_its_ttl_is_extended(
    export: bytes, dynamodb: DynamoDBClient, names: dict[TableKind, str], session_store: SessionStore, clock: Clock
) -> None:
    clock.advance(days=3)
    found = check(io.BytesIO(export))
    assert found.expired["sessions"] == 6  # All but the one that has no ttl.
    load(io.BytesIO(export), names, client=dynamodb)
    assert not session_store.exists("full")

    extended = load(io.BytesIO(export), names, client=dynamodb, overwrite=True, extend=timedelta(hours=2))
    assert load(io.BytesIO(export), names, client=dynamodb, extend=timedelta(hours=2)).standing == extended.written
    session = session_store.load("full", "user:1")
    assert session.expires_at == clock.now.replace(microsecond=0) + timedelta(hours=2)
    assert session.state["large"] == LARGE
    session_store.touch(session)
    clock.advance(hours=23)
    assert session_store.load("full", "user:1").state["large"] == LARGE
    assert session_store.peek("ended") is not None
    assert not session_store.exists("ended")


def test_an_item_that_no_table_takes_stops_the_import_with_its_lines(
    export: bytes, dynamodb: DynamoDBClient, names: dict[TableKind, str]
) -> None:
    too_large = {"session_id": {"S": "big"}, "event_id": {"S": "e"}, "data": {"S": "x" * 500_000}}
    lines = export.split(b"\n")
    lines.insert(-2, json.dumps({"Table": "events", "Item": too_large}).encode())
    with pytest.raises(ImportStopped, match=r"^At lines \d+ to \d+: .*Run the same command again"):
        load(io.BytesIO(b"\n".join(lines)), names, client=dynamodb)


def test_a_throttled_import_waits_and_goes_on(
    export: bytes, dynamodb: DynamoDBClient, names: dict[TableKind, str]
) -> None:
    with answering(dynamodb, "BatchWriteItem", error("ProvisionedThroughputExceededException"), times=2):
        tally = load(io.BytesIO(export), names, client=dynamodb)
    assert tally.written.total() == export.count(b"\n") - 2
    assert (tally.standing.total(), tally.different) == (0, 0)


def test_an_import_does_not_wait_for_what_does_not_pass(
    export: bytes, dynamodb: DynamoDBClient, names: dict[TableKind, str]
) -> None:
    denied = error("AccessDeniedException", "not authorized to perform: dynamodb:BatchWriteItem")
    with answering(dynamodb, "BatchWriteItem", denied), pytest.raises(ImportStopped, match="dynamodb:BatchWriteItem"):
        load(io.BytesIO(export), names, client=dynamodb)


def test_missing_tables_are_told_before_anything_is_written(export: bytes, dynamodb: DynamoDBClient) -> None:
    with pytest.raises(TableMissing, match="dynamodb_setup"):
        load(io.BytesIO(export), {"sessions": "none", "events": "none"}, client=dynamodb)


def test_sets_and_numbers_that_the_engine_spells_otherwise_are_the_same_item(
    dynamodb: DynamoDBClient, both: Both, names: dict[TableKind, str]
) -> None:
    item = {"session_id": {"S": "typed"}, "SS": {"SS": ["a", "b"]}, "NS": {"NS": ["1", "2.50"]}, "N": {"N": "1.50"}}
    respelled = item | {"SS": {"SS": ["b", "a"]}, "NS": {"NS": ["2.5", "1"]}, "N": {"N": "1.5"}}
    run(dynamodb, batches.put(both[0].name, [item]))
    export = exported(dynamodb, both)
    run(dynamodb, batches.put(both[0].name, [respelled]))
    assert load(io.BytesIO(export), names, client=dynamodb).standing.total() == 1


# --- Files that are damaged -----------------------------------------------------------------------------------

HEADER = (
    b'{"Header":{"Format":"mcp-sessions-export","Version":1,"ExportedAt":"2026-11-22T12:00:00+00:00",'
    b'"Region":"eu-west-1","Tables":{"sessions":"s","events":"e"}}}\n'
)
ITEM = b'{"Table":"sessions","Item":{"session_id":{"S":"a"},"ttl":{"N":"1"}}}\n'
TRAILER = b'{"Trailer":{"Items":{"sessions":1,"events":0}}}\n'


def test_a_small_export_written_by_hand_is_whole() -> None:
    found = check(io.BytesIO(HEADER + ITEM + TRAILER))
    assert (found.truncated, found.items["sessions"], found.sessions) == (None, 1, 1)


@pytest.mark.parametrize(
    "cut",
    [HEADER, HEADER + ITEM, HEADER + ITEM[:-9], HEADER + ITEM + TRAILER[:-9], HEADER + ITEM + ITEM + TRAILER],
    ids=["after the header", "after an item", "in an item", "in the trailer", "otherwise than its trailer counts"],
)
def test_a_file_that_was_cut_short_is_known_for_one(cut: bytes) -> None:
    assert check(io.BytesIO(cut)).truncated is not None


@pytest.mark.parametrize("share", [0.2, 0.9, 0.999])
def test_a_compressed_file_that_was_cut_short_is_known_for_one(export: bytes, share: float) -> None:
    packed = gzip.compress(export)
    assert check(io.BytesIO(packed)).truncated is None
    assert check(io.BytesIO(packed[: int(len(packed) * share)])).truncated is not None


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"\n", "it is not JSON"),
        (b"{}\n", "neither a header nor an item"),
        (b"[1]\n", "neither a header nor an item"),
        (b"\xff\xfe\n", "it is not JSON"),
        (b"[" * 200_000 + b"\n", "it is not JSON"),
        (HEADER, "second header"),
        (b'{"Table":"others","Item":{}}\n', "neither a header nor an item"),
        (b'{"Table":"sessions","Item":{}}\n', "no session_id"),
        (b'{"Table":"sessions","Item":{"session_id":{"S":""}}}\n', "no session_id"),
        (b'{"Table":"events","Item":{"session_id":{"S":"a"}}}\n', "no event_id"),
        (b'{"Table":"sessions","Item":{"session_id":"a"}}\n', "session_id is not DynamoDB JSON"),
        (b'{"Table":"sessions","Item":{"session_id":{"S":"a"},"n":{"N":1}}}\n', "n is not DynamoDB JSON"),
        (b'{"Table":"sessions","Item":{"session_id":{"S":"a"},"n":{"N":"NaN"}}}\n', "n is not DynamoDB JSON"),
        (b'{"Table":"sessions","Item":{"session_id":{"S":"a"},"m":{"M":{"x":{"L":[1]}}}}}\n', r"m\.x\[0\] is not"),
        (b'{"Table":"sessions","Item":{"session_id":{"S":"a"},"b":{"B":"%"}}}\n', "b is not base64"),
        (b'{"Table":"sessions","Item":{"session_id":{"S":"a"},"s":{"S":"\\ud800"}}}\n', "lone surrogate"),
    ],
)
def test_a_line_that_is_none_of_an_exports_is_named(line: bytes, why: str) -> None:
    with pytest.raises(ExportDamaged, match=rf"^Line 3 of the export cannot be imported: .*{why}"):
        check(io.BytesIO(HEADER + ITEM + line + TRAILER))


@pytest.mark.parametrize(
    ("file", "why"),
    [
        (b"", "The file is empty"),
        (b"PK\x03\x04" * 100, "^Line 1 .*it is not JSON"),
        (ITEM + TRAILER, "^Line 1 .*not the header"),
        (HEADER.replace(b'"Version":1', b'"Version":2'), "version 2; this release reads mcp-sessions-export 1"),
        (HEADER + ITEM + TRAILER + ITEM, "^Line 4 .*behind the trailer"),
        (HEADER + b" " * 9_000_000, "^Line 2 .*it is not JSON"),
        (b"\x1f\x8b" + b"\x00" * 50, "damaged"),
    ],
    ids=["empty", "another format", "no header", "another version", "two exports", "no lines", "damaged gzip"],
)
def test_a_file_that_is_no_export_is_refused(file: bytes, why: str) -> None:
    with pytest.raises(ExportDamaged, match=why):
        check(io.BytesIO(file))


def test_a_file_gets_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl.gz"
    path.write_bytes(b"the one before")

    def interrupted() -> None:
        with written_whole(path) as file:
            file.write(b"half")
            assert [left.name.endswith(PARTIAL_SUFFIX) for left in tmp_path.iterdir() if left != path] == [True]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"the one before"
    assert list(tmp_path.iterdir()) == [path]

    with written_whole(path) as file:
        file.write(b"whole")
    assert gzip.decompress(path.read_bytes()) == b"whole"
    assert path.stat().st_mode & 0o777 == 0o600
