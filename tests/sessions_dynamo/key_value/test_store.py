"""The key-value store: the protocol that FastMCP keeps its state by, over the sessions table."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sessions_dynamo import schema
from sessions_dynamo.conf import conf
from sessions_dynamo.dataplane.loops import close_planes_of_this_loop
from sessions_dynamo.dataplane.observers import Asked, on_request
from sessions_dynamo.errors import InvalidState, StateTooLarge
from sessions_dynamo.key_value.store import DynamoDBKeyValue
from sessions_dynamo.reading.item_kinds import SessionsKind, kind_of
from sessions_dynamo.store.sessions import default_store

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

pytestmark = pytest.mark.usefixtures("dynamodb")

VALUE = {"value": ["ü", 1.5, None, {"": 10**40}]}


def on_a_loop(work: Callable[[DynamoDBKeyValue], Awaitable[Any]], store: DynamoDBKeyValue | None = None) -> Any:
    """The result of some work with a store of a collection that no other test has."""

    async def run() -> Any:
        try:
            return await work(store or DynamoDBKeyValue(default_collection=secrets.token_hex(8)))
        finally:
            await close_planes_of_this_loop()

    return asyncio.run(run())


def test_a_value_comes_back_equal_until_it_is_deleted() -> None:
    async def work(store: DynamoDBKeyValue) -> None:
        assert await store.get("k") is None
        assert await store.delete("k") is False
        await store.put("k", {"a": 1})
        await store.put("k", VALUE)
        assert await store.get("k") == VALUE
        assert await store.delete("k") is True
        assert await store.get("k") is None

    on_a_loop(work)


def test_many_keys_keep_their_order_and_one_that_comes_twice_its_last_value() -> None:
    keys = [f"k{number}" for number in range(130)]

    async def work(store: DynamoDBKeyValue) -> None:
        await store.put_many(keys, [{"n": number} for number in range(130)], ttl=100)
        found = await store.get_many(["none", *reversed(keys), "k0"])
        assert found == [None, *({"n": number} for number in reversed(range(130))), {"n": 0}]
        assert await store.ttl_many(["none"]) == [(None, None)]
        await store.put_many(["k0", "k0"], [{"n": "first"}, {"n": "last"}])
        assert await store.get("k0") == {"n": "last"}
        assert await store.delete_many(["none", *keys[:3], "k0"]) == 3
        assert await store.get_many([]) == []
        await store.put_many([], [])
        assert await store.delete_many([]) == 0

    on_a_loop(work)


def test_collections_and_keys_are_told_apart_whatever_is_in_them() -> None:
    places = [("a", "b#c"), ("a#b", "c"), ("a%23b", "c"), ("", "#"), ("#", ""), ("ü", "\x00"), ("a", " b")]

    async def work(store: DynamoDBKeyValue) -> None:
        for collection, key in places:
            await store.put(key, {"at": [collection, key]}, collection=collection, ttl=60)
        for collection, key in places:
            assert await store.get(key, collection=collection) == {"at": [collection, key]}
            assert await store.delete(key, collection=collection)

    on_a_loop(work)


def test_a_ttl_is_what_is_left_of_it_and_ends_a_value_that_dynamodb_has_yet_to_delete(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = schema.now_ms()

    async def work(store: DynamoDBKeyValue) -> None:
        await store.put("k", VALUE, ttl=60)
        value, left = await store.ttl("k")
        assert value == VALUE
        assert left is not None
        assert 0 < left <= 61
        monkeypatch.setattr(schema, "now_ms", lambda: now + 120_000)
        assert await store.ttl("k") == (None, None)
        assert await store.get_many(["k", "other"]) == [None, None]
        assert await store.delete("k") is False

    on_a_loop(work)


def test_a_value_without_a_ttl_lives_as_long_as_a_session() -> None:
    async def work(store: DynamoDBKeyValue) -> float:
        await store.put("k", VALUE)
        return (await store.ttl("k"))[1] or 0

    assert on_a_loop(work) == pytest.approx(conf.SESSION_TTL_HOURS * 3600, abs=30)
    short = DynamoDBKeyValue(default_collection=secrets.token_hex(8), default_ttl=timedelta(minutes=5))
    assert on_a_loop(work, short) == pytest.approx(300, abs=30)


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf")])
def test_a_ttl_that_is_none_is_refused(ttl: float) -> None:
    with pytest.raises(InvalidState, match="ttl"):
        on_a_loop(lambda store: store.put("k", VALUE, ttl=ttl))


@pytest.mark.parametrize(
    ("key", "value", "error"),
    [
        ("k" * 3000, VALUE, InvalidState),
        ("\ud800", VALUE, InvalidState),
        ("k", {"a": "\ud800"}, InvalidState),
        ("k", {"a": float("nan")}, InvalidState),
        ("k", {"a": "x" * 500_000}, StateTooLarge),
    ],
    ids=["long key", "surrogate in a key", "surrogate", "nan", "large"],
)
def test_what_cannot_be_stored_is_refused_and_nothing_is_written(
    key: str, value: dict[str, Any], error: type[Exception]
) -> None:
    async def work(store: DynamoDBKeyValue) -> None:
        with pytest.raises(error):
            await store.put_many(["other", key], [VALUE, value])
        assert await store.get("other") is None

    on_a_loop(work)


def test_each_value_needs_its_key() -> None:
    with pytest.raises(InvalidState, match="2 keys and 1 values"):
        on_a_loop(lambda store: store.put_many(["a", "b"], [VALUE]))


def test_what_somebody_else_wrote_there_is_no_value(dynamodb: DynamoDBClient) -> None:
    table, ttl = conf.DYNAMODB_SESSIONS_TABLE, {"N": str(schema.now_ms() // 1000 + 100)}
    collection = secrets.token_hex(8)
    for number, rest in enumerate(
        [
            {},
            {"ttl": ttl},
            {"value": {"S": "{}"}},
            {"ttl": ttl, "value": {"S": "[1]"}},
            {"ttl": ttl, "value": {"S": "{"}},
        ]
    ):
        item: Any = {"session_id": {"S": schema.key_value_id(collection, str(number))}, **rest}
        dynamodb.put_item(TableName=table, Item=item)
    store = DynamoDBKeyValue(default_collection=collection)
    assert on_a_loop(lambda store: store.get_many([*"01234"]), store) == [None] * 5


def test_reads_are_consistent_and_each_operation_is_one_request() -> None:
    asked: list[Asked] = []

    async def work(store: DynamoDBKeyValue) -> None:
        with on_request(asked.append):
            await store.put("k", VALUE)
            await store.get("k")
            await store.delete("k")

    on_a_loop(work)
    assert [one.action for one in asked] == ["PutItem", "GetItem", "DeleteItem"]
    assert asked[1].parameters["ConsistentRead"] is True


def test_it_is_no_item_of_any_session(dynamodb: DynamoDBClient) -> None:
    session = default_store().create()
    on_a_loop(lambda store: store.put(f"{session.session_id}:notes", VALUE))
    key = schema.key_value_id("c", f"{session.session_id}:notes")
    assert kind_of({"session_id": {"S": key}}) is SessionsKind.OTHER
    assert not schema.is_session_id(key)


def test_it_follows_the_protocol_of_py_key_value() -> None:
    protocols = pytest.importorskip("key_value.aio.protocols", reason="py-key-value-aio is not installed")
    assert isinstance(DynamoDBKeyValue(), protocols.AsyncKeyValue)
