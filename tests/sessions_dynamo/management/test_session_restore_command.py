"""``sessions_restore`` as an operator runs it: one session, out of a file or out of a backup."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from sessions_dynamo import schema
from sessions_dynamo.backups import on_demand
from sessions_dynamo.errors import SessionNotFound
from sessions_dynamo.management.commands import sessions_restore
from sessions_dynamo.store.events import default_store as default_events
from sessions_dynamo.store.session_items import floor
from sessions_dynamo.store.sessions import SessionStore, default_store
from sessions_dynamo.store.times import seconds
from sessions_dynamo.transfer import one_session
from tests.engines import on_moto
from tests.sessions_dynamo.store.test_events import stream_of
from tests.sessions_dynamo.support import raw_items, state_of
from tests.sessions_dynamo.wire import operations, writes

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

AT = datetime(2025, 1, 31, 13, 45, 7, tzinfo=UTC)
STAMP = "20250131-134507"
LARGE = "x" * 5000


def run(command: str, *arguments: str) -> str:
    out = io.StringIO()
    call_command(command, *arguments, stdout=out, stderr=io.StringIO(), no_color=True)
    return re.sub(" +", " ", out.getvalue())


def restore(*arguments: str) -> str:
    return run("sessions_restore", *arguments)


@pytest.fixture
def store(dynamodb: DynamoDBClient) -> SessionStore:
    """The service's store: ``lost``, with a small and a large value, a region's state and three events; ``other``."""
    store = default_store()
    lost = store.create("lost", principal="me", state=state_of(notes=["a", "b"], report=LARGE))
    store.set_global_state(lost, "eu-west-1", {"warm": True})
    store.incr(lost, "added", 3)
    default_events().append(stream_of(3, session="lost"))
    store.create("other", state=state_of(report="y" * 5000))
    default_events().append(stream_of(1, session="other"))
    return store


@pytest.fixture
def file(store: SessionStore, tmp_path: Path) -> str:
    """An export of all of it."""
    run("sessions_export", str(tmp_path / "all.jsonl.gz"))
    return str(tmp_path / "all.jsonl.gz")


def lose(store: SessionStore) -> None:
    store.delete("lost")
    default_events().delete("lost")
    store.dynamodb.delete_item(
        TableName=store.table, Key={"session_id": {"S": schema.global_state_id("lost", "eu-west-1")}}
    )


def everything(store: SessionStore) -> list[str]:
    """Every item of both tables, but for their times."""
    changing = {schema.TTL_ATTRIBUTE, "last_activity"}
    items = raw_items(store.dynamodb, store.table) + raw_items(store.dynamodb, default_events().table)
    return sorted(repr({name: item[name] for name in sorted(item.keys() - changing)}) for item in items)


def is_whole(store: SessionStore) -> None:
    session = store.load("lost", "me")
    assert session.state["notes"] == ["a", "b"]
    assert session.state["report"] == LARGE
    assert session.counters == {"added": 3}
    assert store.get_global_state(session, "eu-west-1") == {"warm": True}
    assert default_events().count("lost") == 3


# --- Out of a file --------------------------------------------------------------------------------------------


def test_a_session_that_is_lost_comes_back_out_of_a_whole_export(store: SessionStore, file: str) -> None:
    before = everything(store)
    lose(store)
    with pytest.raises(SessionNotFound):
        store.load("lost", "me")

    with operations(store.dynamodb) as sent:
        printed = restore("lost", "--from", file, "--dry-run")
    assert not [name for name in writes(sent) if name != "BatchGetItem"]
    assert "Found: 2 keys of state, 2 items beside it, 3 of events" in printed
    assert "Nothing was written. Next: the same command without --dry-run" in printed

    printed = restore("lost", "--from", file)
    assert f"Stands: no session lost in {store.table}" in printed
    assert "Now: session lost is there, 2 keys of state, 2 items beside it, 3 of events." in printed
    is_whole(store)
    assert everything(store) == before


@on_moto
def test_its_life_begins_again_or_is_as_it_was(store: SessionStore, tmp_path: Path) -> None:
    past = datetime.now(UTC) - timedelta(hours=30)
    store.dynamodb.update_item(
        TableName=store.table,
        Key={"session_id": {"S": "lost"}},
        UpdateExpression="SET #ttl = :past",
        ExpressionAttributeNames={"#ttl": schema.TTL_ATTRIBUTE},
        ExpressionAttributeValues={":past": seconds(past)},
    )
    path = str(tmp_path / "one.jsonl")
    run("sessions_export", "--session", "lost", path)

    printed = restore("lost", "--from", path, "--keep-ttl")
    assert "Stands: expired, 2 keys of state" in printed
    assert "Its ttl has passed: clients get 404." in printed
    assert not store.exists("lost")

    restore("lost", "--from", path)
    session = store.load("lost", "me")
    now = datetime.now(UTC)
    assert abs(session.expires_at - now - store.session_ttl) < timedelta(minutes=1)
    assert session.last_activity >= floor(now - timedelta(minutes=1))
    is_whole(store)

    lose(store)
    restore("lost", "--from", path, "--ttl", "100")
    assert abs(store.load("lost", "me").expires_at - now - timedelta(hours=100)) < timedelta(minutes=1)


def test_a_session_that_lives_is_replaced_only_where_that_is_asked_for(store: SessionStore, file: str) -> None:
    session = store.load("lost", "me")
    session.state["notes"] = ["since"]
    session.state["new"] = "z" * 6000
    store.save(session)
    for _ in range(2):
        default_events().store("lost", "message", "{}")
    standing = everything(store)

    with pytest.raises(CommandError, match=f"Session lost lives in {store.table}: --overwrite replaces it"):
        restore("lost", "--from", file)
    assert everything(store) == standing

    printed = restore("lost", "--from", file, "--overwrite")
    # The new value, and what happened since.
    assert "Stands: live, 3 keys of state" in printed
    assert "3 items of what stood are gone." in printed
    is_whole(store)
    assert "new" not in store.load("lost", "me").state


@on_moto
def test_one_that_was_ended_is_replaced_unasked(store: SessionStore, file: str) -> None:
    store.terminate("lost")

    assert "Stands: ended" in restore("lost", "--from", file)

    is_whole(store)


@on_moto
def test_one_that_ends_up_living_meanwhile_is_left_alone(
    store: SessionStore, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose(store)
    put_all = one_session._put_all

    def begins(client: DynamoDBClient, table: str, items: Any) -> None:
        put_all(client, table, items)
        if table == store.table:
            store.create("lost", principal="another")

    monkeypatch.setattr(one_session, "_put_all", begins)
    with pytest.raises(CommandError, match="began to live meanwhile"):
        restore("lost", "--from", file)
    assert store.load("lost", "another").state == {}


@on_moto
@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["nobody"], "There is no session 'nobody' in the export of"),
        (["a/b c"], "is no session's id"),
        (["lost", "--ttl", "0"], "no number of hours over 0"),
        (["lost", "--ttl", "1", "--keep-ttl"], "not allowed with"),
    ],
)
def test_says_what_is_wrong_and_writes_nothing(store: SessionStore, file: str, arguments: list[str], why: str) -> None:
    lose(store)
    before = everything(store)
    with pytest.raises(CommandError, match=why):
        restore(*arguments, "--from", file)
    assert everything(store) == before


@on_moto
@pytest.mark.parametrize("source", ["file", "backup"])
def test_events_of_which_the_session_was_gone_are_told_and_make_no_session(
    store: SessionStore, tmp_path: Path, source: str
) -> None:
    store.delete("lost")
    run("sessions_export", str(tmp_path / "all.jsonl"))
    on_demand.create(at=AT)
    before = everything(store)

    words = ["--from", str(tmp_path / "all.jsonl")] if source == "file" else ["--from", STAMP, "--yes"]
    with pytest.raises(CommandError, match=r"has 3 items of events of session 'lost', and not the session itself"):
        restore("lost", *words)
    assert everything(store) == before
    assert not [name for name in store.dynamodb.list_tables()["TableNames"] if name.endswith("-one")]


@on_moto
def test_a_session_of_which_the_events_were_gone_comes_back_without_them(store: SessionStore, tmp_path: Path) -> None:
    default_events().delete("lost")
    run("sessions_export", str(tmp_path / "all.jsonl"))
    lose(store)

    assert "2 items beside it, 0 of events." in restore("lost", "--from", str(tmp_path / "all.jsonl"))
    assert store.load("lost", "me").state["report"] == LARGE


@on_moto
@pytest.mark.parametrize(
    ("name", "why"), [("none.jsonl", "none.jsonl cannot be read: No such file"), ("cut.jsonl", "was cut short")]
)
def test_a_file_that_cannot_be_read_is_said(
    store: SessionStore, file: str, tmp_path: Path, name: str, why: str
) -> None:
    run("sessions_export", str(tmp_path / "whole.jsonl"))
    (tmp_path / "cut.jsonl").write_bytes((tmp_path / "whole.jsonl").read_bytes()[:-40])
    lose(store)
    with pytest.raises(CommandError, match=why):
        restore("lost", "--from", str(tmp_path / name))


# --- Out of a backup ------------------------------------------------------------------------------------------


@on_moto
@pytest.mark.parametrize("source", [STAMP, "{sessions}-backup-" + STAMP, "arn"])
def test_a_backup_is_restored_beside_read_and_deleted(store: SessionStore, source: str) -> None:
    made = on_demand.create(at=AT)
    source = made[1].arn if source == "arn" else source.format(sessions=store.table)
    lose(store)
    tables = store.dynamodb.list_tables()["TableNames"]

    printed = restore("lost", "--from", source, "--dry-run")
    temporary = f"{store.table}-restored-{STAMP}-one"
    assert f"Plan: restore backup {store.table}-backup-{STAMP} to {temporary}, read the session" in printed
    assert "Nothing was restored." in printed
    assert store.dynamodb.list_tables()["TableNames"] == tables
    with pytest.raises(CommandError, match=r"AWS restores whole tables: .* Add --yes to go on. Nothing was changed."):
        restore("lost", "--from", source)

    printed = restore("lost", "--from", source, "--yes")
    assert f"{temporary} table created" in printed
    assert f"{temporary} table deleted" in printed
    is_whole(store)
    assert store.dynamodb.list_tables()["TableNames"] == tables


@on_moto
def test_a_session_that_the_backup_has_not_leaves_no_table_behind(store: SessionStore) -> None:
    on_demand.create(at=AT)
    tables = store.dynamodb.list_tables()["TableNames"]
    with pytest.raises(CommandError, match="There is no session 'nobody'"):
        restore("nobody", "--from", STAMP, "--yes")
    assert store.dynamodb.list_tables()["TableNames"] == tables


@on_moto
def test_an_interrupted_one_goes_on_with_what_was_restored(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_demand.create(at=AT)
    lose(store)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(one_session, "of_tables", interrupt)
        patch.setattr(one_session, "standing", lambda *_, **__: None)
        with pytest.raises(CommandError, match=r"may stand, and cost storage. To go on: python manage.py") as ended:
            restore("lost", "--from", STAMP, "--yes", "--ttl", "2.5")
    assert ended.value.returncode == 130
    (again,) = re.findall(r"To go on: python manage.py sessions_restore (.*)\. To delete", str(ended.value))
    assert f"{store.table}-restored-{STAMP}-one" in store.dynamodb.list_tables()["TableNames"]

    printed = restore(*again.split())

    assert "an earlier run restored backup" in printed
    is_whole(store)
    assert not [name for name in store.dynamodb.list_tables()["TableNames"] if name.endswith("-one")]


@on_moto
def test_a_set_that_is_not_whole_is_refused(store: SessionStore, settings: Settings) -> None:
    made = on_demand.create(at=AT)
    on_demand.delete(made[1].arn)
    with pytest.raises(CommandError, match=f"There is no set {STAMP} with an AVAILABLE backup"):
        restore("nobody", "--from", made[0].name, "--yes")
    by_hand = f"of-{store.table}-by-hand"
    store.dynamodb.create_backup(TableName=store.table, BackupName=by_hand)
    with pytest.raises(CommandError, match="its name has no stamp"):
        restore("nobody", "--from", by_hand, "--yes")


@on_moto
@pytest.mark.parametrize(("answer", "restored"), [("yes", True), ("y", False), ("", False)])
def test_it_asks_first(store: SessionStore, monkeypatch: pytest.MonkeyPatch, answer: str, restored: bool) -> None:
    on_demand.create(at=AT)
    lose(store)
    monkeypatch.setattr(sessions_restore, "on_terminal", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: answer)
    if restored:
        restore("lost", "--from", STAMP)
    else:
        with pytest.raises(CommandError, match="Nothing was changed"):
            restore("lost", "--from", STAMP)
    assert store.exists("lost") == restored
