"""The embedded DynamoDB's tables in files: exact, of one moment, and never lost without a word."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from pytest_django import Settings

from sessions_dynamo import embedded, schema
from sessions_dynamo.client import aws_client
from sessions_dynamo.embedded_data import content, moto_tables
from sessions_dynamo.embedded_data import folder as data_folder
from sessions_dynamo.embedded_data import keeper as module
from sessions_dynamo.embedded_data.folder import DataFolder, FolderInUse, FolderUnusable
from sessions_dynamo.embedded_data.keeper import Keeper
from sessions_dynamo.tables import describing, removal, setup
from sessions_dynamo.tables.desired import Billing, Desired
from sessions_dynamo.tables.names import named_tables
from sessions_dynamo.transfer import export_format, imports
from tests.engines import free_port

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

REGION = "ap-northeast-3"
"""Of these tests alone: moto's tables are the process's."""
FILE = f"{REGION}.sessions-kept.jsonl.gz"
FAR = str(schema.now_ms() // 1000 + 86400)

ALL_TYPES: dict[str, Any] = {
    "session_id": {"S": "all \u2028 types\n"},
    "ttl": {"N": FAR},
    "number": {"N": "12345678901234567890.000000000001"},
    "binary": {"B": b"\x00\xff\xfe"},
    "sets": {"M": {"ns": {"NS": ["1", "2.5"]}, "ss": {"SS": ["a", "b"]}, "bs": {"BS": [b"\x01", b"\xff"]}}},
    "outer_bs": {"BS": [b"\x01", b"\xff"]},
    "deep": {"L": [{"M": {"b": {"B": b"\xff"}, "l": {"L": []}, "e": {"M": {}}}}, {"NULL": True}, {"BOOL": False}]},
    "empty": {"S": ""},
}


class Embedded:
    """An embedded server of a test's own region, with or without what it keeps."""

    def __init__(self, path: Path) -> None:
        self.folder = DataFolder(path)
        self.warnings: list[str] = []
        self.client: DynamoDBClient

    @contextmanager
    def running(self) -> Iterator[Keeper]:
        """From the start of a server to its end, as runserver has it; then its memory is gone."""
        keeper = Keeper(self.folder, self.warnings.append)
        try:
            server = embedded.start(keeper.open)
            assert server
            try:
                keeper.begin(server)
                yield keeper
            finally:
                keeper.close()
                server.close()
        finally:
            for region, backend in moto_tables._backends():
                assert region == REGION
                backend.tables.clear()
                backend.backups.clear()

    def lines(self, name: str = FILE) -> list[dict[str, Any]]:
        return [json.loads(line) for line in gzip.open(self.folder.path / name).read().splitlines()]

    def items(self, name: str = FILE) -> list[str]:
        return sorted(json.dumps(line["Item"], sort_keys=True) for line in self.lines(name) if "Item" in line)


@pytest.fixture
def kept(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Embedded:
    settings.DEBUG = settings.DYNAMODB_EMBEDDED = True
    settings.DYNAMODB_EMBEDDED_PORT = free_port()
    settings.AWS_REGION = REGION
    settings.DYNAMODB_SESSIONS_TABLE, settings.DYNAMODB_EVENTS_TABLE = "sessions-kept", "events-kept"
    everywhere = moto_tables._backends
    monkeypatch.setattr(moto_tables, "_backends", lambda: (each for each in everywhere() if each[0] == REGION))
    kept = Embedded(tmp_path / "data")
    kept.client = aws_client("dynamodb", REGION)
    return kept


def scanned(client: DynamoDBClient, table: str) -> list[dict[str, Any]]:
    return sorted(client.scan(TableName=table)["Items"], key=repr)


def put(kept: Embedded, session_id: str, table: str = "sessions-kept", **attributes: Any) -> None:
    kept.client.put_item(TableName=table, Item={"session_id": {"S": session_id}, "ttl": {"N": FAR}, **attributes})


# --- What is kept ---------------------------------------------------------------------------------------------


def test_items_of_every_type_come_back_equal_and_the_file_is_an_export(kept: Embedded) -> None:
    with kept.running():
        setup.ensure_tables()
        kept.client.put_item(TableName="sessions-kept", Item=ALL_TYPES)
        event = {"session_id": {"S": "all"}, "event_id": {"S": "1.1"}, "ttl": {"N": FAR}, "data": {"S": "x" * 1000}}
        kept.client.put_item(TableName="events-kept", Item=event)
        before = scanned(kept.client, "sessions-kept"), scanned(kept.client, "events-kept")
    assert [path.name for path in kept.folder.files()] == [FILE]
    with (kept.folder.path / FILE).open("rb") as file:
        contents = imports.check(file)
    assert (contents.items["sessions"], contents.items["events"], contents.truncated) == (1, 1, None)

    with kept.running():
        assert (scanned(kept.client, "sessions-kept"), scanned(kept.client, "events-kept")) == before
        # As if it had always been there: the next writes find moto's own types.
        kept.client.update_item(
            TableName="sessions-kept",
            Key={"session_id": ALL_TYPES["session_id"]},
            UpdateExpression="ADD outer_bs :more SET deep[0].b = :b",
            ExpressionAttributeValues={":more": {"BS": [b"new"]}, ":b": {"B": b"changed"}},
        )
        after = scanned(kept.client, "sessions-kept")
    with kept.running():
        assert scanned(kept.client, "sessions-kept") == after
    assert kept.warnings == []


def test_tables_come_back_as_they_were_set_up(kept: Embedded) -> None:
    desired = Desired("staging", billing=Billing("PROVISIONED", 7, 9), recovery=True, deletion_protection=True)

    def described() -> list[dict[str, Any]]:
        describing.forget_descriptions()
        tables = [describing.describe(table.name).as_dict() for table in named_tables()]
        for table in tables:
            # The times of their making.
            table |= {"created_at": None, "stream": None}
            table["point_in_time_recovery"] |= {"earliest": None, "latest": None}
        return tables

    with kept.running():
        setup.ensure_tables(desired=desired)
        removal.disable_stream("sessions-kept")
        kept.client.tag_resource(
            ResourceArn=kept.client.describe_table(TableName="sessions-kept")["Table"]["TableArn"],
            Tags=[{"Key": "Team", "Value": "Sessions"}],
        )
        before, streams = described(), [describing.describe(table.name).stream.enabled for table in named_tables()]

    with kept.running():
        for table, was in zip(described(), before, strict=True):
            assert {name: (value, was[name]) for name, value in table.items() if value != was[name]} == {}
        assert [describing.describe(table.name).stream.enabled for table in named_tables()] == streams == [False, True]
        plans = setup.plan(desired=desired)
        assert [change.aspect for planned in plans for change in planned.to_do] == ["stream"]


def test_what_has_expired_is_gone_and_an_item_without_a_ttl_is_not(kept: Embedded) -> None:
    with kept.running():
        setup.ensure_tables()
        put(kept, "expired", ttl={"N": "1000"})
        put(kept, "fresh")
        kept.client.put_item(TableName="sessions-kept", Item={"session_id": {"S": "no ttl"}, "ttl": {"S": "text"}})

    with kept.running():
        found = {item["session_id"]["S"] for item in scanned(kept.client, "sessions-kept")}
    assert found == {"fresh", "no ttl"}


def _update(client: DynamoDBClient) -> None:
    client.update_item(
        TableName="sessions-kept",
        Key={"session_id": {"S": "a"}},
        UpdateExpression="SET n = if_not_exists(n, :zero) + :one REMOVE gone",
        ExpressionAttributeValues={":zero": {"N": "0"}, ":one": {"N": "1"}},
    )


def _update_nested(client: DynamoDBClient) -> None:
    client.update_item(
        TableName="sessions-kept",
        Key={"session_id": {"S": "a"}},
        UpdateExpression="SET #state.#key = :value",
        ExpressionAttributeNames={"#state": "state", "#key": "key"},
        ExpressionAttributeValues={":value": {"S": "changed"}},
    )


def _transact(client: DynamoDBClient, condition: str = "attribute_exists(session_id)") -> None:
    update: Any = {
        "TableName": "sessions-kept",
        "Key": {"session_id": {"S": "a"}},
        "UpdateExpression": "SET n = :n",
        "ExpressionAttributeValues": {":n": {"N": "5"}},
    }
    check: Any = {"TableName": "sessions-kept", "Key": {"session_id": {"S": "b"}}, "ConditionExpression": condition}
    client.transact_write_items(TransactItems=[{"Update": update}, {"ConditionCheck": check}])


def _failed_transaction(client: DynamoDBClient) -> None:
    with pytest.raises(client.exceptions.TransactionCanceledException):
        _transact(client, "attribute_not_exists(session_id)")
    _update(client)


WRITES: dict[str, Callable[[DynamoDBClient], object]] = {
    "update": _update,
    "nested update": _update_nested,
    "legacy update": lambda client: client.update_item(
        TableName="sessions-kept",
        Key={"session_id": {"S": "a"}},
        AttributeUpdates={"n": {"Action": "ADD", "Value": {"N": "3"}}},
    ),
    "update of what was not there": lambda client: client.update_item(
        TableName="sessions-kept",
        Key={"session_id": {"S": "new"}},
        UpdateExpression="SET n = :n",
        ExpressionAttributeValues={":n": {"N": "1"}},
    ),
    "put over": lambda client: client.put_item(TableName="sessions-kept", Item={"session_id": {"S": "a"}}),
    "delete": lambda client: client.delete_item(TableName="sessions-kept", Key={"session_id": {"S": "a"}}),
    "batch": lambda client: client.batch_write_item(
        RequestItems={
            "sessions-kept": [
                {"PutRequest": {"Item": {"session_id": {"S": "c"}}}},
                {"DeleteRequest": {"Key": {"session_id": {"S": "b"}}}},
            ]
        }
    ),
    "transaction": _transact,
    "transaction that failed": _failed_transaction,
    "statement": lambda client: client.execute_statement(
        Statement='UPDATE "sessions-kept" SET n = ? WHERE session_id = ?', Parameters=[{"N": "8"}, {"S": "a"}]
    ),
}


@pytest.mark.parametrize("write", WRITES)
def test_every_kind_of_write_is_in_the_next_file(kept: Embedded, write: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 3600.0)
    with kept.running() as keeper:
        setup.ensure_tables()
        put(kept, "a", gone={"S": ""}, state={"M": {"key": {"S": "before"}}}, n={"N": "1"})
        put(kept, "b")
        keeper._save()
        before = kept.items()
        WRITES[write](kept.client)
        keeper._save()
        assert kept.items() != before
        assert kept.items() == sorted(
            json.dumps(item, sort_keys=True) for item in scanned(kept.client, "sessions-kept")
        )


def test_reads_write_no_file_and_a_change_of_one_service_only_its_own(
    kept: Embedded, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 3600.0)
    with kept.running() as keeper:
        setup.ensure_tables()
        settings.DYNAMODB_SESSIONS_TABLE = "other-sessions"
        setup.ensure_tables([named_tables()[0]])
        settings.DYNAMODB_SESSIONS_TABLE = "sessions-kept"
        keeper._save()
        written = {path: path.stat().st_mtime_ns for path in kept.folder.files()}
        assert [path.name for path in written] == [f"{REGION}.other-sessions.jsonl.gz", FILE]

        scanned(kept.client, "sessions-kept")
        keeper._save()
        assert {path: path.stat().st_mtime_ns for path in kept.folder.files()} == written

        put(kept, "a", "other-sessions")
        keeper._save()
        changed = {path.name for path in kept.folder.files() if path.stat().st_mtime_ns != written[path]}
        assert changed == {f"{REGION}.other-sessions.jsonl.gz"}


def test_a_table_under_another_name_is_kept_beside_its_partner_and_a_deleted_one_forgotten(
    kept: Embedded, settings: Settings
) -> None:
    with kept.running():
        setup.ensure_tables()
        put(kept, "a")
    settings.DYNAMODB_SESSIONS_TABLE, settings.DYNAMODB_EVENTS_TABLE = "new-sessions", "new-events"
    with kept.running():
        setup.ensure_tables()
        put(kept, "b")
        assert [item["session_id"]["S"] for item in scanned(kept.client, "sessions-kept")] == ["a", "b"]
    assert [path.name for path in kept.folder.files()] == [f"{REGION}.new-sessions.jsonl.gz", FILE]
    assert kept.lines()[0]["Header"]["Tables"] == {"sessions": "sessions-kept", "events": "events-kept"}

    with kept.running():
        for table in ("sessions-kept", "events-kept"):
            kept.client.delete_table(TableName=table)
    assert [path.name for path in kept.folder.files()] == [f"{REGION}.new-sessions.jsonl.gz"]


def test_backups_are_said_to_end(kept: Embedded) -> None:
    with kept.running():
        setup.ensure_tables()
        kept.client.create_backup(TableName="sessions-kept", BackupName="one")
    assert kept.warnings == ["1 backups ended with the embedded DynamoDB, which keeps none."]


# --- What goes wrong ------------------------------------------------------------------------------------------


def _header(**changes: Any) -> bytes:
    header = export_format.Header("2026-11-30T12:00:00+00:00", REGION, {"sessions": "sessions-kept", "events": "e"})
    found = json.loads(export_format.header_line(header))
    found["Header"] |= changes
    return json.dumps(found).encode() + b"\n"


TRAILER = export_format.trailer_line(export_format.Trailer({"sessions": 0, "events": 0})).encode()
DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "The file is empty"),
    "foreign": (lambda _: b"\x7fELF\x00\x01", "it is not JSON"),
    "cut short": (lambda whole: whole[:-30], "The compressed file ends in the middle"),
    "a wrong bit": (
        lambda whole: whole[:60] + bytes([whole[60] ^ 255]) + whole[61:],
        "compressed file is damaged|JSON",
    ),
    "an export": (lambda _: _header() + TRAILER, "an export without its tables' descriptions"),
    "of a later release": (lambda _: _header(Version=9) + TRAILER, "this release reads mcp-sessions-export 1"),
    "a description that makes no table": (
        lambda _: _header(Descriptions={"sessions-kept": {"KeySchema": 7}}) + TRAILER,
        "Error",
    ),
    "items that are missing": (
        lambda whole: gzip.compress(
            b"".join(line for line in gzip.decompress(whole).splitlines(True) if b'"a"' not in line)
        ),
        "It holds 0 items, and its trailer counts 1",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_cannot_be_read_is_set_aside_and_said(kept: Embedded, damage: str) -> None:
    with kept.running():
        setup.ensure_tables()
        put(kept, "a")
    spoil, why = DAMAGES[damage]
    path = kept.folder.path / FILE
    path.write_bytes(spoil(path.read_bytes()))
    spoilt = path.read_bytes()

    with kept.running():
        setup.ensure_tables()
        assert scanned(kept.client, "sessions-kept") == []
        put(kept, "b")

    (warning,) = kept.warnings
    (aside,) = kept.folder.path.glob("*.unreadable")
    assert aside.read_bytes() == spoilt
    assert aside.name in warning
    assert ("sessions_import --partial" in warning) == (damage in ("cut short", "items that are missing"))
    assert any(word in warning for word in why.split("|"))
    with kept.running():
        assert [item["session_id"]["S"] for item in scanned(kept.client, "sessions-kept")] == ["b"]


def test_an_item_that_cannot_be_read_costs_no_other_one_and_is_said_once(kept: Embedded) -> None:
    with kept.running():
        setup.ensure_tables()
        put(kept, "good")
        for session_id, value in (("", {"S": "a key that is empty"}), ("wrong", {"N": "NaN"})):
            # DynamoDB refuses both, and moto neither.
            kept.client.update_item(
                TableName="sessions-kept",
                Key={"session_id": {"S": session_id}},
                UpdateExpression="SET n = :n",
                ExpressionAttributeValues={":n": value},
            )
    before = (kept.folder.path / FILE).read_bytes()
    assert len(kept.items()) == 3

    with kept.running():
        assert [item["session_id"]["S"] for item in scanned(kept.client, "sessions-kept")] == ["good"]
    (warning,) = kept.warnings
    assert "the item has no session_id, the key of the sessions table" in warning
    assert 'of the item {"session_id": {"S": "wrong"}} the attribute n is not DynamoDB JSON' in warning
    (aside,) = kept.folder.path.glob("*.unreadable")
    assert aside.read_bytes() == before
    assert aside.name in warning

    with kept.running():
        assert [item["session_id"]["S"] for item in scanned(kept.client, "sessions-kept")] == ["good"]
    assert kept.warnings == [warning]


def test_a_disk_that_is_full_is_said_once_and_the_former_file_stays_until_there_is_room(
    kept: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 3600.0)
    with kept.running() as keeper:
        setup.ensure_tables()
        put(kept, "a")
        keeper._save()
        former = (kept.folder.path / FILE).read_bytes()

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            put(kept, "b")
            keeper._save()
            keeper._save()
        (warning,) = kept.warnings
        assert "No space left on device" in warning
        assert "in memory only" in warning
        assert (kept.folder.path / FILE).read_bytes() == former
        assert len(scanned(kept.client, "sessions-kept")) == 2

        keeper._save()
        assert "can be written again" in kept.warnings[-1]
        assert len(kept.items()) == 2


def test_a_folder_that_was_deleted_meanwhile_is_made_filled_and_held_again(
    kept: Embedded, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 3600.0)
    with kept.running() as keeper:
        setup.ensure_tables()
        settings.DYNAMODB_SESSIONS_TABLE = "other-sessions"
        setup.ensure_tables([named_tables()[0]])
        settings.DYNAMODB_SESSIONS_TABLE = "sessions-kept"
        keeper._save()
        shutil.rmtree(kept.folder.path)
        put(kept, "a")
        keeper._save()
        assert [path.name for path in kept.folder.files()] == [f"{REGION}.other-sessions.jsonl.gz", FILE]
        (warning,) = kept.warnings
        assert warning.endswith("was deleted while the site ran: it is made and filled again.")
        with pytest.raises(FolderInUse):
            Keeper(kept.folder, kept.warnings.append).open()


def test_a_deleted_folder_that_another_site_has_now_is_left_to_it(
    kept: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 3600.0)
    with kept.running() as keeper:
        setup.ensure_tables()
        keeper._save()
        shutil.rmtree(kept.folder.path)
        kept.folder.make()
        anothers = kept.folder.path / FILE
        with kept.folder.held():
            anothers.write_bytes(b"another's")
            put(kept, "a")
            keeper._save()
            assert "keeps its tables there. The embedded DynamoDB goes on in memory only" in kept.warnings[0]
        # The other one has ended, and what it kept is there.
        keeper._save()
        assert anothers.read_bytes() == b"another's"
        assert len(kept.warnings) == 1

        anothers.unlink()
        keeper._save()
        assert len(kept.items()) == 1
        assert "can be written again" in kept.warnings[-1]


def test_a_folder_that_cannot_be_had_is_said_and_nothing_is_written_there(kept: Embedded, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")

    with kept.running() as keeper:
        assert not keeper.keeps
        setup.ensure_tables()
        put(kept, "a")

    (warning,) = kept.warnings
    assert "its data ends with this server" in warning
    assert (tmp_path / "data").read_text() == "a file"


def test_a_file_that_may_not_be_read_stops_the_start(kept: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    with kept.running():
        setup.ensure_tables()

    def refused(name: str) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)

    monkeypatch.setattr(content, "seekable", refused)
    with pytest.raises(FolderUnusable, match=r"cannot be read \(Permission denied\)"), kept.running():
        pass
    assert [path.name for path in kept.folder.files()] == [FILE]
    assert not embedded.is_running()


def test_a_folder_has_one_process(kept: Embedded) -> None:
    with kept.running():
        second = Keeper(kept.folder, kept.warnings.append)
        with pytest.raises(FolderInUse, match=f"process {os.getpid()}"):
            second.open()
    with kept.running():
        pass


def test_a_folder_has_one_process_on_windows_too(kept: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    locked: set[tuple[int, int]] = set()

    def locking(descriptor: int, mode: int, size: int) -> None:
        place = (os.fstat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR))
        assert (mode, size) == (3, 1)
        # What is locked there can be read by nobody else, the process's number among it.
        assert place[1] > 100
        if place in locked:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        locked.add(place)

    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=3))
    monkeypatch.setitem(sys.modules, "fcntl", None)
    kept.folder.make()
    monkeypatch.setattr(sys, "platform", "win32")
    with kept.folder.held() as hold:
        assert hold.stands
        with pytest.raises(FolderInUse, match=f"process {os.getpid()}"), kept.folder.held():
            pass


def test_what_a_kill_left_half_written_goes_at_the_next_start(kept: Embedded) -> None:
    with kept.running():
        setup.ensure_tables()
    half = kept.folder.path / f".{FILE}.abc.partial"
    half.write_bytes(b"half")
    stranger = kept.folder.path / "notes.txt"
    stranger.write_text("mine")

    with kept.running():
        assert not half.exists()
    assert stranger.read_text() == "mine"


@pytest.mark.parametrize("value", ["", "off"])
def test_a_setting_keeps_nothing(settings: Settings, value: str) -> None:
    settings.DYNAMODB_EMBEDDED_DATA = value
    assert data_folder.configured() is None


def test_the_folder_is_the_projects_own_whatever_the_current_directory_is(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BASE_DIR = tmp_path
    settings.DYNAMODB_EMBEDDED_DATA = ".data"
    monkeypatch.chdir("/")
    assert data_folder.configured() == DataFolder(tmp_path / ".data")
