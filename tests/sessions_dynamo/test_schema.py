"""Keys: what each kind of item is called, and in which order a partition holds them."""

from __future__ import annotations

import pytest

from sessions_dynamo import schema, worker_keys
from sessions_dynamo.schema import EventKind

STREAM = "1763800000000-00112233445566aa"


def test_a_new_session_id_is_valid_and_has_192_random_bits() -> None:
    ids = {schema.new_session_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(schema.is_session_id(session_id) and len(session_id) == 32 for session_id in ids)


@pytest.mark.parametrize("value", ["a", "A-z_0", "x" * 128])
def test_a_session_id_is_letters_digits_hyphens_and_underscores(value: str) -> None:
    assert schema.is_session_id(value)


@pytest.mark.parametrize("value", ["", "x" * 129, "a b", "a\n", "ä", "#bus", "a#k#00", "a##eu-west-1", "../x", "\x00"])
def test_nothing_else_is_a_session_id(value: str) -> None:
    assert not schema.is_session_id(value)


@pytest.mark.parametrize("key", ["k", "#", "a#b", "\x00"])
def test_no_other_item_of_the_sessions_table_has_a_key_that_is_a_session_id(key: str) -> None:
    assert not schema.is_session_id(schema.spilled_value_id("abc", key))
    assert not schema.is_session_id(schema.global_state_id("abc", key))


def test_a_large_value_never_gets_the_same_key_twice() -> None:
    assert len({schema.spilled_value_id("abc", "k") for _ in range(1000)}) == 1000


def test_a_sessions_shard_is_the_same_on_every_worker() -> None:
    assert [schema.shard(session_id) for session_id in ("a", "b", "c", "session")] == ["3", "1", "7", "4"]
    assert {schema.shard(schema.new_session_id()) for _ in range(500)} == {str(shard) for shard in range(8)}


@pytest.mark.parametrize(
    ("sort_key", "kind"),
    [
        (schema.event_id(STREAM, 0), EventKind.EVENT),
        (schema.event_id(STREAM, 9_999_999_999), EventKind.EVENT),
        (schema.part_id(schema.event_id(STREAM, 3), 12), EventKind.PART),
        (schema.lease_id(STREAM), EventKind.LEASE),
        (schema.end_id(STREAM), EventKind.END),
        (schema.part_id(schema.end_id(STREAM), 1), EventKind.PART),
        (schema.reply_id("7"), EventKind.REPLY),
        (schema.reply_id(".!"), EventKind.REPLY),
        pytest.param(schema.call_id(1763800000000), EventKind.CALL, id="call"),
    ],
)
def test_a_sort_key_tells_the_kind_of_its_item(sort_key: str, kind: EventKind) -> None:
    assert schema.kind_of("abc", sort_key) is kind


@pytest.mark.parametrize(
    ("partition", "kind"),
    [
        (worker_keys.BUS_PARTITION, EventKind.BUS),
        (worker_keys.WORKERS_PARTITION, EventKind.WORKER),
        (worker_keys.inbox_partition("aaaaaaaaaaaa"), EventKind.MESSAGE),
        (worker_keys.NEWS_PARTITION, EventKind.NEWS),
        (worker_keys.news_partition("aaaaaaaaaaaa"), EventKind.NEWS),
    ],
)
def test_a_partition_of_the_workers_tells_the_kind_of_all_of_its_items(partition: str, kind: EventKind) -> None:
    for sort_key in (schema.time_ordered_id(), schema.lease_id(STREAM), "call.1", "aaaaaaaaaaaa"):
        assert schema.kind_of(partition, sort_key) is kind


def test_a_stream_sorts_as_it_happened_between_its_lease_and_its_end() -> None:
    second = schema.event_id(STREAM, 2)
    in_order = [
        schema.lease_id(STREAM),
        schema.event_id(STREAM, 1),
        second,
        schema.part_id(second, 1),
        schema.part_id(second, 9),
        schema.event_id(STREAM, 10),
        schema.event_id(STREAM, 1_000_000),
        schema.end_id(STREAM),
        schema.lease_id("1763800000001-0000000000000000"),
    ]
    assert sorted(in_order) == in_order


def test_streams_sort_by_time_and_before_every_other_item_of_a_session() -> None:
    earlier, later = schema.time_ordered_id(1_763_800_000_000), schema.time_ordered_id(1_763_800_000_001)
    assert earlier < later
    others = [schema.reply_id("1"), schema.call_id(0)]
    assert all(schema.end_id(later) < schema.STREAMS_END < other for other in others)


@pytest.mark.parametrize(
    ("stream", "sequence"),
    [(STREAM, 0), pytest.param(schema.time_ordered_id(0), 41, id="of another time"), (STREAM, 10**10 - 1)],
)
def test_an_event_id_is_read_back(stream: str, sequence: int) -> None:
    assert schema.parse_event_id(schema.event_id(stream, sequence)) == (stream, sequence)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "7",
        STREAM,
        f"{STREAM}.",
        f"{STREAM}.1",
        f"{STREAM}.0000000001.1",
        f"{STREAM}.0000000001\n",
        f"{STREAM}.!",
        f"{STREAM.upper()}.0000000001",
        f"{STREAM}." + "\N{ARABIC-INDIC DIGIT ONE}" * 10,
        "call.1763800000000-00112233445566aa",
        "#bus",
        "\x00",
    ],
)
def test_nothing_else_is_an_event_id(value: str) -> None:
    assert schema.parse_event_id(value) is None


def test_the_tables_have_the_documented_keys_and_indexes() -> None:
    assert [key.name for key in schema.SESSIONS.keys] == ["session_id"]
    assert [key.name for key in schema.EVENTS.keys] == ["session_id", "event_id"]
    indexes = [*schema.SESSIONS.indexes, *schema.EVENTS.indexes]
    assert {index.name: (index.partition.name, index.sort.name) for index in indexes} == {
        "LastActivityIndex": ("shard", "last_activity"),
        "CreatedAtIndex": ("shard", "created_at"),
        "PrincipalIndex": ("principal", "created_at"),
        "TimestampIndex": ("shard", "timestamp"),
    }


def test_a_table_names_each_key_attribute_once() -> None:
    assert [key.name for key in schema.SESSIONS.attributes] == [
        "session_id",
        "shard",
        "last_activity",
        "created_at",
        "principal",
    ]
