"""The sessions page: its list and filters, its address, the id that is looked for, and what is done to several."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.test import Client
from pytest_django import Settings

from sessions_dynamo import client, worker_keys
from sessions_dynamo.errors import StorageUnavailable
from sessions_dynamo.operations import run
from sessions_dynamo.reading import session_list
from sessions_dynamo.staff.sessions import bulk
from sessions_dynamo.store import batches, session_items, sessions, times
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.workers import streams
from sessions_dynamo.workers.holdings import Cancellation, Holding
from tests.engines import on_dynamodb_local, on_moto
from tests.sessions_dynamo.support import raw_session, state_of
from tests.sessions_dynamo.wire import answering, error, operations

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

pytestmark = pytest.mark.django_db

LIST = "/admin/sessions/"
TERMINATE = "/admin/terminate-sessions/"
DELETE = "/admin/delete-sessions/"
HOSTILE = ("<script>alert(1)</script>", "javascript:alert(1)", "\u202egnp.exe", "\"'><img src=x onerror=alert(1)>")

StaffClient = Callable[..., Client]


@pytest.fixture
def operator(staff_client: StaffClient) -> Client:
    return staff_client("view_session", "change_session", "delete_session")


def page(browser: Client, **query: Any) -> str:
    """The page of an address; it must be there."""
    answer = browser.get(LIST, query)
    assert answer.status_code == HTTPStatus.OK
    return answer.text


def listed(text: str) -> list[str]:
    """Ids on a page, in order."""
    return [html.unescape(found) for found in re.findall(r'data-copy="([^"]*)"', text)]


def link(text: str, label: str) -> str:
    """The address that a button of the page leads to."""
    found = re.search(rf'<a class="button[^"]*"[^>]*href="([^"]*)">{label}</a>', text)
    assert found, f"there is no link {label!r}"
    return html.unescape(found[1])


def words(text: str) -> str:
    """What a person reads, roughly."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", text)))


def messages(browser: Client) -> str:
    """What the next page says was done."""
    return words(re.search(r'<div class="[^"]*mb-3[^"]*">(.*?)</div>', page(browser), re.DOTALL)[1]).strip()  # type: ignore[index]


def put(number: int, *, prefix: str = "s", seconds: int = 0, **fields: Any) -> list[str]:
    """Store sessions that began a minute apart, the newest first, all at once; their ids."""
    now = datetime.now(UTC) - timedelta(seconds=seconds)
    store = sessions.default_store()
    items = []
    for place in range(number):
        at = now - timedelta(minutes=place)
        session = Session(f"{prefix}{place:05d}", at, session_items.floor(at), now + timedelta(hours=24), **fields)
        items.append(session_items.encode(session, {}))
    store.drive(batches.put(store.table, items))
    return [item["session_id"]["S"] for item in items]


# --- The list -------------------------------------------------------------------------------------------------


@on_moto
def test_a_service_without_sessions_says_how_one_comes_to_be(dynamodb: DynamoDBClient, viewer: Client) -> None:
    text = page(viewer)
    assert "No sessions yet" in text
    assert "<table" not in text


def test_a_line_says_what_a_session_is(dynamodb: DynamoDBClient, viewer: Client) -> None:
    store = sessions.default_store()
    session = store.create(
        principal="alice",
        protocol_version="2025-11-25",
        client_params={"clientInfo": {"name": "inspector", "version": "2.12.0"}},
        state=state_of(colour="blue", large="x" * 5000),
    )
    text = page(viewer)
    row = words(text[text.index("<tbody>") : text.index("</tbody>")])
    for part in ("inspector 2.12.0", "2025-11-25", "alice", "active", "in 23 hours", " 2 "):
        assert part in row
    assert listed(text) == [session.session_id]
    assert f'href="{session.session_id}/"' in text
    assert 'href="?principal=alice"' in text


@on_moto
def test_every_status_is_told_apart(dynamodb: DynamoDBClient, viewer: Client, settings: Settings) -> None:
    store = sessions.default_store()
    for name in ("active", "terminated", "expired", "idle"):
        store.create(name)
    store.terminate("terminated")
    now = datetime.now(UTC)
    for name, expires in (("expired", now - timedelta(hours=1)), ("idle", now + timedelta(hours=1))):
        item: dict[str, Any] = raw_session(store, name) or {}
        item |= {
            "last_activity": {"N": str(times.to_ms(now - timedelta(hours=25)))},
            "ttl": times.seconds(expires),
        }
        dynamodb.put_item(TableName=store.table, Item=item)
    rows = page(viewer).split("<tr>")[2:]
    assert sorted((listed(row)[0], re.findall(r'class="badge \w*">(\w+)', row)) for row in rows) == [
        (name, [name]) for name in ("active", "expired", "idle", "terminated")
    ]
    for name in ("active", "terminated", "expired", "idle"):
        assert listed(page(viewer, status=name)) == [name]


@on_moto
def test_what_a_client_said_is_shown_and_never_run(dynamodb: DynamoDBClient, viewer: Client) -> None:
    for text in HOSTILE:
        sessions.default_store().create(
            principal=text,
            protocol_version=text,
            client_params={"clientInfo": {"name": text, "version": text}},
        )
    sessions.default_store().create(principal="x" * 500, client_params={"clientInfo": {"name": "y" * 100_000}})
    shown = page(viewer)
    for text in HOSTILE:
        assert html.escape(text[:20]) in shown
    assert "<script>alert" not in shown
    assert "<img" not in shown
    assert 'href="javascript' not in shown
    assert "y" * 100 not in shown
    for text in HOSTILE:
        asked = page(viewer, client=text, revision=text, principal=text)
        assert "<script>alert" not in asked
        assert len(listed(asked)) == 1


@on_moto
def test_an_item_that_no_session_of_ours_can_be_is_shown_and_not_offered_to_actions(
    dynamodb: DynamoDBClient, operator: Client
) -> None:
    odd = ("..", "a/b?c#d", "</code><script>alert(1)</script>", "ümlaut")
    now = datetime.now(UTC)
    items = [session_items.encode(Session(name, now, now, now + timedelta(hours=1)), {}) for name in odd]
    run(dynamodb, batches.put(sessions.default_store().table, items))
    text = page(operator)
    assert sorted(listed(text)) == sorted(odd)
    assert 'name="session"' not in text
    assert "<script>alert" not in text


@on_moto
def test_keys_of_state_that_cannot_be_counted_leave_the_rest_of_the_page(
    dynamodb: DynamoDBClient, viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions.default_store().create("abc", state=state_of(a=1))

    def refuse(*_: object) -> dict[str, int]:
        raise StorageUnavailable("no")

    monkeypatch.setattr(session_list.SessionList, "keys_of_state", refuse)
    text = page(viewer)
    assert listed(text) == ["abc"]
    assert "not counted" in text


# --- Filters and pages ----------------------------------------------------------------------------------------


def test_the_address_holds_every_filter(dynamodb: DynamoDBClient, viewer: Client) -> None:
    ours = put(
        60, prefix="ours", principal="alice", protocol_version="2025-11-25", client_params_text=_client("Inspector")
    )
    put(5, prefix="other", principal="bob", protocol_version="2025-06-18", client_params_text=_client("curl"))
    today = datetime.now(UTC)
    query = {
        "status": "active",
        "client": "inspect",
        "revision": "2025-11-25",
        "principal": "alice",
        "order": "created_at",
        "since": f"{today - timedelta(minutes=20):%Y-%m-%dT%H:%M}",
        "until": f"{today - timedelta(minutes=10):%Y-%m-%dT%H:%M}",
        "per_page": "100",
    }
    text = page(viewer, **query)
    assert listed(text) == [session_id for session_id in ours if 10 <= int(session_id[4:]) <= 20]
    for value in query.values():
        assert f'value="{value}"' in text
    assert link(text, "Clear") == LIST
    for name in ("client", "revision", "principal"):
        assert ours[0] in listed(page(viewer, **{name: query[name]}))
        assert "other00000" not in listed(page(viewer, **{name: query[name]}))


def test_pages_lead_on_back_and_to_the_first(dynamodb: DynamoDBClient, viewer: Client) -> None:
    put(130, principal="alice")
    first = page(viewer, order="created_at")
    assert "Previous</a>" not in first
    second = viewer.get(link(first, "Next")).text
    third = viewer.get(link(second, "Next")).text
    assert [len(listed(text)) for text in (first, second, third)] == [50, 50, 30]
    assert listed(first) + listed(second) + listed(third) == [f"s{number:05d}" for number in range(130)]
    assert "Next</a>" not in third
    assert listed(viewer.get(link(third, "Previous")).text) == listed(second)
    again = viewer.get(link(viewer.get(link(third, "Previous")).text, "Previous")).text
    assert listed(again) == listed(first)
    assert link(third, "First page") == f"{LIST}?order=created_at"
    assert "order=created_at" in link(first, "Next")
    assert len(listed(page(viewer, per_page="100"))) == 100


@on_moto
def test_a_filter_that_finds_little_says_how_much_it_read_and_goes_on(
    dynamodb: DynamoDBClient, viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_list, "MAX_ROWS", 16)
    put(40, prefix="new", client_params_text=_client("curl"))
    put(3, prefix="old", seconds=3600, client_params_text=_client("inspector"))
    ids: list[str] = []
    address, visits = f"{LIST}?client=inspector", 0
    while True:
        text = viewer.get(address).text
        ids += listed(text)
        visits += 1
        if "Go on</a>" not in text:
            break
        told = re.search(r"Read (\d+) sessions? and found (\d+) that match", words(text))
        assert told
        assert 0 < int(told[1]) <= 16
        assert int(told[2]) == len(listed(text))
        address = link(text, "Go on")
    assert ids == ["old00000", "old00001", "old00002"]
    assert 3 <= visits <= 20


@on_moto
def test_a_filter_that_finds_nothing_says_so(dynamodb: DynamoDBClient, viewer: Client) -> None:
    put(2)
    text = page(viewer, principal="nobody")
    assert "No session matches" in text
    assert link(text, "Show all sessions") == LIST


@on_moto
@pytest.mark.parametrize("cursor", ["x", "é\x00", "a" * 3000, '"><script>alert(1)</script>'])
def test_a_damaged_page_position_shows_the_first_page_and_says_so(
    dynamodb: DynamoDBClient, viewer: Client, cursor: str
) -> None:
    ids = put(3)
    text = page(viewer, cursor=cursor)
    assert "Here is the first page" in text
    assert listed(text) == ids
    assert "<script>alert" not in text


@on_moto
def test_a_page_position_of_another_filter_shows_the_first_page(dynamodb: DynamoDBClient, viewer: Client) -> None:
    put(60)
    following = link(page(viewer), "Next")
    text = viewer.get(f"{following}&order=created_at").text
    assert "Here is the first page" in text
    assert listed(text)[0] == "s00000"


@on_moto
@pytest.mark.parametrize(
    "query",
    [
        {"status": "sleeping"},
        {"order": "random"},
        {"since": "yesterday"},
        {"until": "2025-13-45T99:00"},
        {"per_page": "100000"},
        {"principal": "x" * 600},
        {"client": "a\x00b"},
    ],
)
def test_a_filter_that_means_nothing_is_pointed_out_and_reads_nothing(
    dynamodb: DynamoDBClient, viewer: Client, query: dict[str, str]
) -> None:
    with operations(client.dynamodb(quick=True)) as sent:
        answer = viewer.get(LIST, query)
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    (name,) = query
    assert f'id="filter-{name}_error"' in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert sent == []


@on_dynamodb_local
def test_the_longest_principal_is_only_one_that_nobody_has(dynamodb: DynamoDBClient, viewer: Client) -> None:
    assert "No session matches" in page(viewer, principal="\U0001f600" * 512)


@on_dynamodb_local
def test_a_table_without_the_index_names_the_command_that_adds_it(
    bare_dynamodb: DynamoDBClient, viewer: Client
) -> None:
    bare_dynamodb.create_table(
        TableName=sessions.default_store().table,
        KeySchema=[{"AttributeName": "session_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "session_id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    for query in ({}, {"order": "created_at"}, {"principal": "alice"}):
        answer = viewer.get(LIST, query)
        assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
        assert "lacks an index: run 'manage.py dynamodb_setup'" in html.unescape(answer.text)


# --- What a page costs ----------------------------------------------------------------------------------------


def test_a_page_costs_at_most_a_query_a_shard_and_six_more(
    dynamodb: DynamoDBClient, viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(700, client_params_text=_client("curl"))
    budget = {"Query": 8, "BatchGetItem": 6}
    for query, cost in (
        ({}, {"Query": 8, "BatchGetItem": 2}),
        ({"per_page": "100"}, {"Query": 8, "BatchGetItem": 2}),
        ({"since": "2025-01-01T00:00"}, {"Query": 8, "BatchGetItem": 2}),
        ({"principal": "alice"}, {"Query": 1}),
        ({"client": "curl"}, {"Query": 8, "BatchGetItem": 2}),
        ({"client": "inspector"}, {"Query": 8, "BatchGetItem": 5}),
        ({"status": "terminated", "revision": "x", "per_page": "100"}, {"Query": 8, "BatchGetItem": 5}),
        ({"find": "nobody"}, {"GetItem": 1}),
    ):
        with operations(client.dynamodb(quick=True)) as sent:
            assert viewer.get(LIST, query).status_code < HTTPStatus.INTERNAL_SERVER_ERROR
        counts = {name: sent.count(name) for name in sent}
        assert counts == cost, query
        assert all(counts.get(name, 0) <= most for name, most in budget.items())


@on_dynamodb_local
def test_the_first_page_costs_the_same_whatever_the_table_holds(dynamodb: DynamoDBClient, viewer: Client) -> None:
    quick = client.dynamodb(quick=True)

    def ask(params: dict[str, Any], **_: Any) -> None:
        params["ReturnConsumedCapacity"] = "TOTAL"

    def note(parsed: dict[str, Any], **_: Any) -> None:
        capacity = parsed["ConsumedCapacity"]
        units.extend(each["CapacityUnits"] for each in (capacity if isinstance(capacity, list) else [capacity]))

    def cost() -> tuple[list[str], list[float]]:
        units.clear()
        with operations(quick) as sent:
            assert len(listed(page(viewer))) == 50
        return sorted(sent), sorted(units)

    units: list[float] = []
    quick.meta.events.register("before-parameter-build.dynamodb", ask)
    quick.meta.events.register("after-call.dynamodb", note)
    put(1000, prefix="a")
    small = cost()
    assert len(small[1]) == 10
    put(2000, prefix="b", seconds=1000 * 60)
    assert cost() == small


# --- One id ---------------------------------------------------------------------------------------------------


@on_moto
def test_an_exact_id_leads_to_its_session(dynamodb: DynamoDBClient, viewer: Client) -> None:
    sessions.default_store().create("Abc_-1")
    answer = viewer.get(LIST, {"find": " Abc_-1 "})
    assert (answer.status_code, answer["Location"]) == (HTTPStatus.FOUND, "/admin/sessions/Abc_-1/")


@on_moto
@pytest.mark.parametrize("wanted", ["abc_-1", "Abc", "../..", *HOSTILE, "x" * 5000])
def test_an_id_that_nobody_has_is_said_to_be_nobodys(dynamodb: DynamoDBClient, viewer: Client, wanted: str) -> None:
    sessions.default_store().create("Abc_-1")
    answer = viewer.get(LIST, {"find": wanted})
    assert answer.status_code == HTTPStatus.NOT_FOUND
    assert "No session has the id" in answer.text
    assert html.escape(wanted[:100]) in answer.text
    assert "<script>alert" not in answer.text
    assert link(answer.text, "All sessions") == LIST


@on_moto
def test_the_command_search_finds_pages_and_the_session_of_an_exact_id(
    dynamodb: DynamoDBClient, viewer: Client, staff_client: StaffClient
) -> None:
    sessions.default_store().create("AbcDef")

    def found(browser: Client, term: str) -> list[str]:
        text = browser.get("/admin/search/", {"s": term, "extended": "1"}).text
        return re.findall(r'href="([^"]*)"', text)

    assert found(viewer, "AbcDef") == ["/admin/sessions/AbcDef/"]
    assert found(viewer, "Sess") == [LIST]
    assert found(viewer, "AbcDe") == []
    assert found(staff_client(), "AbcDef") == []
    assert "opencommand" in page(viewer), "the sidebar has the button that opens it"


# --- Several at once ------------------------------------------------------------------------------------------


@on_moto
def test_actions_are_offered_to_whoever_may(
    dynamodb: DynamoDBClient, viewer: Client, staff_client: StaffClient
) -> None:
    put(1)
    text = page(viewer)
    assert 'type="checkbox"' not in text
    assert "Terminate chosen" not in text
    text = page(staff_client("view_session", "change_session"))
    assert "Terminate chosen" in text
    assert "Delete chosen" not in text
    text = page(staff_client("view_session", "delete_session"))
    assert "Terminate chosen" not in text
    assert "Delete chosen" in text


@on_moto
@pytest.mark.parametrize(
    ("action", "permission"), [(TERMINATE, "delete_session"), (DELETE, "change_session")], ids=["terminate", "delete"]
)
def test_an_action_takes_its_own_permission_a_post_and_a_token(
    dynamodb: DynamoDBClient, staff_client: StaffClient, action: str, permission: str
) -> None:
    (session_id,) = put(1)
    form = {"session": session_id, "confirmed": "yes"}
    assert staff_client("view_session", permission).post(action, form).status_code == HTTPStatus.FORBIDDEN
    may = ("view_session", "change_session", "delete_session")
    assert staff_client(*may, enforce_csrf_checks=True).post(action, form).status_code == HTTPStatus.FORBIDDEN
    assert staff_client(*may).get(action, form).status_code == HTTPStatus.METHOD_NOT_ALLOWED
    assert sessions.default_store().load(session_id).is_live
    assert not LogEntry.objects.exists()


def test_chosen_sessions_are_terminated_once_that_is_confirmed(dynamodb: DynamoDBClient, operator: Client) -> None:
    ids = put(4)
    sessions.default_store().terminate(ids[2])
    asked = operator.post(TERMINATE, {"session": ids[:3], "query": "order=created_at"})
    assert asked.status_code == HTTPStatus.OK
    assert "Terminate these 3 sessions?" in words(asked.text)
    assert all(session_id in asked.text for session_id in ids[:3])
    assert link(asked.text, "Cancel") == f"{LIST}?order=created_at"
    assert sessions.default_store().load(ids[0]).is_live

    form = dict(_hidden(asked.text))
    assert form == {"session": ids[:3], "query": ["order=created_at"], "confirmed": ["yes"]}
    done = operator.post(TERMINATE, form)
    assert (done.status_code, done["Location"]) == (HTTPStatus.FOUND, f"{LIST}?order=created_at")
    assert [sessions.default_store().exists(session_id) for session_id in ids] == [False, False, False, True]
    assert messages(operator) == "Terminated 2 sessions. 1 had ended already."
    holdings = streams.default_store().holdings
    for session_id in ids:
        # Who leaves word of a call only now, finds it ended.
        held = Holding(session_id, "7", "aaaaaaaaaaaa", 1)
        ended = [Cancellation(hang_up=False)] if session_id in ids[:3] else []
        assert holdings.cancellations([held]) == {held: ended}
    entries = LogEntry.objects.order_by("object_id")
    assert [(entry.object_id, entry.action_flag) for entry in entries] == [(ids[0], CHANGE), (ids[1], CHANGE)]
    assert {entry.change_message for entry in entries} == {"Terminated with 3 sessions chosen."}


def test_chosen_sessions_are_deleted_with_their_events(dynamodb: DynamoDBClient, operator: Client) -> None:
    ids = put(3)
    events = streams.default_store().events
    for session_id in ids:
        events.store(session_id, "response", "{}")
    asked = operator.post(DELETE, {"session": [*ids[:2], "gone"]})
    assert "cannot be undone" in asked.text
    operator.post(DELETE, dict(_hidden(asked.text)))
    assert messages(operator) == "Deleted 2 sessions. 1 did not exist any more."
    assert listed(page(operator)) == [ids[2]]
    assert [events.count(session_id) for session_id in ids] == [0, 0, 1]
    entries = LogEntry.objects.order_by("object_id")
    assert [(entry.object_id, entry.action_flag) for entry in entries] == [(ids[0], DELETION), (ids[1], DELETION)]


@on_moto
def test_one_session_is_spoken_of_as_one(dynamodb: DynamoDBClient, operator: Client) -> None:
    (session_id,) = put(1)
    asked = operator.post(TERMINATE, {"session": session_id})
    assert "Terminate this session?" in words(asked.text)
    operator.post(TERMINATE, {"session": session_id, "confirmed": "yes"})
    assert messages(operator) == "Terminated 1 session."


@on_moto
def test_nothing_chosen_changes_nothing_and_says_what_to_do(dynamodb: DynamoDBClient, operator: Client) -> None:
    put(1)
    assert operator.post(DELETE, {"query": "status=active", "confirmed": "yes"})["Location"] == f"{LIST}?status=active"
    assert messages(operator) == "Choose the sessions to delete first."


@on_moto
def test_more_than_a_page_of_sessions_is_refused(dynamodb: DynamoDBClient, operator: Client) -> None:
    ids = [f"s{number}" for number in range(bulk.MAX_SESSIONS + 1)]
    answer = operator.post(DELETE, {"session": ids, "confirmed": "yes"})
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert "101 sessions were chosen; one action takes 100" in answer.text


@on_moto
@pytest.mark.parametrize("query", ["//evil.example", "x\r\nSet-Cookie: a=b", "next=https://evil.example", "%0d%0aX: y"])
def test_an_action_returns_to_the_list_and_nowhere_else(dynamodb: DynamoDBClient, operator: Client, query: str) -> None:
    (session_id,) = put(1)
    answer = operator.post(TERMINATE, {"session": session_id, "query": query, "confirmed": "yes"})
    assert answer["Location"].startswith(f"{LIST}?")
    assert "\n" not in answer["Location"]


@on_moto
@pytest.mark.parametrize("session_id", [worker_keys.inbox_partition("aaaaaaaaaaaa"), "..", "<script>alert(1)</script>"])
def test_what_is_no_sessions_id_harms_nothing(dynamodb: DynamoDBClient, operator: Client, session_id: str) -> None:
    streams.default_store().inboxes.send("aaaaaaaaaaaa", "topic", {})
    assert "<script>alert" not in operator.post(DELETE, {"session": session_id}).text
    operator.post(DELETE, {"session": session_id, "confirmed": "yes"})
    assert messages(operator) == "Deleted 0 sessions. 1 did not exist any more."
    assert len(streams.default_store().inboxes.read("aaaaaaaaaaaa")) == 1


@on_moto
def test_what_dynamodb_refused_is_named_and_not_recorded_as_done(
    dynamodb: DynamoDBClient, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "WORKERS", 1)
    ids = put(9)
    with answering(sessions.default_store().dynamodb, "UpdateItem", error("AccessDeniedException", "no"), times=1):
        operator.post(TERMINATE, {"session": ids, "confirmed": "yes"})
    told = messages(operator)
    assert told.startswith(f"Terminated 0 sessions. Not terminated: {', '.join(ids[:5])} and 4 more. Access denied")
    # As of one session: what was tried is on record, because a part of it may be done.
    (entry,) = LogEntry.objects.all()
    assert entry.object_id == ids[0]
    assert entry.change_message.startswith("Tried to terminate it with 9 sessions chosen. Access denied")
    # The rest was not tried: it would have failed as well, each after a while.
    assert all(sessions.default_store().exists(session_id) for session_id in ids)


def _client(name: str) -> str:
    return json.dumps({"clientInfo": {"name": name, "version": "1"}})


def _hidden(text: str) -> list[tuple[str, list[str]]]:
    """The hidden fields of the page that asks, as its form posts them."""
    fields: dict[str, list[str]] = {}
    for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', text):
        if name != "csrfmiddlewaretoken":
            fields.setdefault(name, []).append(html.unescape(value))
    return list(fields.items())
