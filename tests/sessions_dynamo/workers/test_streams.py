"""What workers tell each other about streams: leases, ends, holders and answers; on each engine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from pytest_django import Settings

from sessions_dynamo import schema
from sessions_dynamo.errors import EventTooLarge, StorageUnavailable
from sessions_dynamo.operations import Operation, Request
from sessions_dynamo.store import event_operations
from sessions_dynamo.store.event_items import MAX_EVENT_BYTES, PART_BYTES, Event
from sessions_dynamo.store.events import EventStore
from sessions_dynamo.workers import streams
from sessions_dynamo.workers.inboxes import SIGNAL_TTL
from sessions_dynamo.workers.standalone_operations import ATTEMPTS
from sessions_dynamo.workers.streams import MAX_DELIVERY, MAX_DELIVERY_BYTES, Lease, StreamStore, default_store
from tests.engines import on_dynamodb_local, on_moto
from tests.sessions_dynamo.drivers import LoopDriver, on_asyncio
from tests.sessions_dynamo.support import Clock, Wire, raw_items
from tests.sessions_dynamo.wire import answering, replacing

T = TypeVar("T")

SESSION = "abc"
STREAM, LATER = "1763800000000-aaaaaaaaaaaaaaaa", "1763800000001-bbbbbbbbbbbbbbbb"
ENDS = datetime(2026, 11, 23, 12, tzinfo=UTC)
"""When the session expires."""
STANDALONE = schema.standalone_stream_id(1_763_700_000_000)


@pytest.fixture
def store(event_store: EventStore) -> StreamStore:
    return StreamStore(event_store)


def lease(stream: str = STREAM, owner: str = "aaaaaaaaaaaa", request_id: str | None = "7") -> Lease:
    return Lease(SESSION, stream, owner, request_id)


def finish(store: StreamStore, event: Event, last: int | None = None) -> bool:
    """End a stream behind the newest of its events."""
    return store.end(event, store.events.newest(SESSION, event.stream_id) if last is None else last)


def claim(store: StreamStore, owner: str) -> int:
    """The newest sequence of the standalone stream, which this owner holds from now on."""
    return store.standalone.claim(SESSION, STANDALONE, owner, ENDS).newest


def deliver(store: StreamStore, owner: str, events: Sequence[Event], keys: Sequence[str] = ()) -> bool:
    return store.standalone.deliver(owner, events, keys, expires_at=ENDS)


def event(sequence: int, data: str = "", *, stream: str = STREAM, at: datetime | None = None) -> Event:
    at = at or datetime(2026, 11, 22, 12, 0, sequence % 60, 123_000, UTC)
    return Event(SESSION, stream, sequence, "notifications/message", data or f'{{"n":{sequence}}}', at)


def end(data: str = '{"result":{}}', *, stream: str = STREAM, kind: str = "response") -> Event:
    at = datetime(2026, 11, 22, 12, 1, 0, 0, UTC)
    return Event(SESSION, stream, schema.END_SEQUENCE, kind, data, at)


def at_once(count: int, call: Callable[[int], T]) -> list[T]:
    """What a call returns to each of some threads that begin it together."""
    together = threading.Barrier(count)

    def run(number: int) -> T:
        together.wait()
        return call(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def keys(store: StreamStore) -> list[str]:
    return sorted(item["event_id"]["S"] for item in raw_items(store.events.dynamodb, store.events.table))


# --- Streams of a POST ----------------------------------------------------------------------------------------


def test_a_stream_begins_with_its_lease_and_its_first_events_in_one_request(store: StreamStore, wire: Wire) -> None:
    with wire.counting() as requests:
        store.open(lease(), [event(0), event(1)])
    assert requests == {"BatchWriteItem": 1}
    assert store.events.since(SESSION) == [event(0), event(1)]
    held = store.lease(SESSION, STREAM)
    assert held is not None
    assert (held.owner, held.request_id) == ("aaaaaaaaaaaa", "7")


def test_a_stream_may_begin_without_an_event_or_with_a_large_one(store: StreamStore) -> None:
    store.open(lease(), [])
    assert store.events.since(SESSION) == []
    large = event(0, "x" * (2 * PART_BYTES + 1), stream=LATER)
    store.open(lease(LATER), [large])
    assert store.events.since(SESSION) == [large]


def test_an_unknown_stream_has_no_lease(store: StreamStore) -> None:
    assert store.lease(SESSION, STREAM) is None
    store.open(lease(), [])
    assert store.lease(SESSION, LATER) is None
    assert store.lease("other", STREAM) is None


def test_a_lease_is_gone_when_its_stream_has_expired(store: StreamStore, clock: Clock) -> None:
    store.open(lease(), [event(0)])
    clock.advance(hours=6, seconds=-1)
    assert store.lease(SESSION, STREAM) is not None
    clock.advance(seconds=1)
    assert store.lease(SESSION, STREAM) is None


def test_leases_are_kept_25_to_a_request(store: StreamStore, wire: Wire, clock: Clock) -> None:
    leases = [lease(f"17638000000{number:02d}-aaaaaaaaaaaaaaaa") for number in range(26)]
    with wire.counting() as requests:
        store.keep(leases)
    assert requests == {"BatchWriteItem": 2}
    assert [store.lease(SESSION, one.stream_id) for one in leases] == leases
    with wire.counting() as requests:
        store.keep([])
    assert not requests


def test_keeping_keeps_the_lease_for_as_long_as_the_newest_event(store: StreamStore, clock: Clock) -> None:
    store.open(lease(), [event(0)])
    clock.advance(hours=5)
    store.keep([lease()])
    clock.advance(hours=5)
    assert store.lease(SESSION, STREAM) is not None


def test_a_stream_has_one_end_the_first(store: StreamStore, wire: Wire) -> None:
    store.open(lease(), [event(0)])
    with wire.counting() as requests:
        assert finish(store, end("first"), 0)
    assert requests == {"PutItem": 1}
    assert not finish(store, end("second", kind="error"))
    assert store.events.after(SESSION, event(0).event_id) == [end("first")]


def test_whatever_sequence_an_end_is_given_it_is_the_end(store: StreamStore) -> None:
    finish(store, event(3, "the end"))
    assert [one.sequence for one in store.events.since(SESSION)] == [schema.END_SEQUENCE]


def test_an_end_that_the_aws_client_sent_twice_is_still_its_callers(store: StreamStore, clock: Clock) -> None:
    # The first answer was lost on the way; the second attempt, the same to the second, finds what the first one stored.
    assert finish(store, end("first"))
    assert finish(store, end("first"))
    assert not finish(store, end("second"))


def test_of_many_who_end_a_stream_at_once_one_does(store: StreamStore) -> None:
    ended = at_once(8, lambda number: finish(store, end(f"by {number}")))
    assert ended.count(True) == 1
    (stored,) = store.events.since(SESSION)
    assert stored.data == f"by {ended.index(True)}"


def test_a_large_end_that_lost_leaves_nothing_in_the_one_that_won(store: StreamStore) -> None:
    small, large = end("process ended", kind="error"), end("x" * (2 * PART_BYTES))
    assert finish(store, small)
    assert not finish(store, large)
    assert store.events.since(SESSION) == [small]

    assert finish(store, end("y" * (2 * PART_BYTES), stream=LATER))
    assert not finish(store, end("late", stream=LATER, kind="error"))
    assert store.events.since(SESSION)[-1].data == "y" * (2 * PART_BYTES)


def test_an_end_over_the_limit_is_refused_and_the_stream_goes_on(store: StreamStore) -> None:
    with pytest.raises(EventTooLarge):
        finish(store, end("x" * (MAX_EVENT_BYTES + 1)))
    assert finish(store, end())


def test_an_end_comes_after_every_event_and_nothing_after_an_end(store: StreamStore) -> None:
    store.open(lease(), [event(0), event(1)])
    finish(store, end())
    for cursor, after in ((0, [1, schema.END_SEQUENCE]), (1, [schema.END_SEQUENCE]), (schema.END_SEQUENCE, [])):
        stored = store.events.after(SESSION, schema.event_id(STREAM, cursor))
        assert [one.sequence for one in stored] == after


def test_what_an_owner_puts_down_when_others_have_ended_its_stream_lies_behind_the_end(store: StreamStore) -> None:
    store.open(lease(), [event(0), event(1)])
    store.open(lease(LATER), [event(9, stream=LATER)])
    assert finish(store, end(kind="error"))
    store.events.append([event(2), event(3, "x" * (PART_BYTES + 1))])
    for stored in (
        store.events.after(SESSION, event(0).event_id),
        [one for one in store.events.since(SESSION)[1:] if one.stream_id == STREAM],
        [one for one in store.events.recent(SESSION, 3) if one.stream_id == STREAM],
    ):
        assert [one.sequence for one in stored] == [1, schema.END_SEQUENCE]
    assert store.events.count(SESSION) == 4


def test_what_lies_behind_an_end_costs_its_session_no_event_and_goes_with_the_next_trim(
    store: StreamStore,
) -> None:
    store.events.operations.max_events = 3
    store.open(lease(), [event(0), event(1)])
    finish(store, end())
    late = [event(number, at=datetime(2026, 11, 22, 11, tzinfo=UTC)) for number in range(2, 6)]
    store.events.append([*late, event(7, "x" * (PART_BYTES + 1))])
    assert store.events.count(SESSION) == 3
    assert store.events.trim(SESSION) == 0
    assert [one.sequence for one in store.events.since(SESSION)] == [0, 1, schema.END_SEQUENCE]
    assert keys(store) == [schema.lease_id(STREAM), event(0).event_id, event(1).event_id, schema.end_id(STREAM)]


def test_the_newest_event_of_a_stream(store: StreamStore) -> None:
    assert store.events.newest(SESSION, STREAM) == -1
    store.open(lease(), [])
    assert store.events.newest(SESSION, STREAM) == -1
    store.open(lease(LATER), [event(5, stream=LATER)])
    store.events.append([event(0), event(1, "x" * (12 * PART_BYTES))])
    assert store.events.newest(SESSION, STREAM) == 1
    finish(store, end())
    assert store.events.newest(SESSION, STREAM) == 1
    assert store.events.newest(SESSION, LATER) == 5


def test_an_end_is_an_event_and_nothing_else_of_a_stream_is(store: StreamStore) -> None:
    store.open(lease(), [event(0)])
    claim(store, "a")
    store.standalone.send(SESSION, STANDALONE, "notifications/message", "{}")
    store.replies.put(SESSION, "s-1", "{}")
    store.replies.put(SESSION, "s-2", "x" * (PART_BYTES + 1))
    finish(store, end())
    assert store.events.since(SESSION) == store.events.recent(SESSION) == [event(0), end()]
    assert store.events.count(SESSION) == 2


# --- Trimming -------------------------------------------------------------------------------------------------


@pytest.fixture
def always_trim(store: StreamStore, monkeypatch: pytest.MonkeyPatch) -> StreamStore:
    """A store that holds three events a session, and trims at every chance."""
    monkeypatch.setattr(event_operations, "random", SimpleNamespace(random=lambda: 0.0))
    store.events.operations.max_events = 3
    return store


def test_streams_that_only_open_and_end_are_trimmed_too(always_trim: StreamStore) -> None:
    for number in range(5):
        stream = f"176380000000{number}-aaaaaaaaaaaaaaaa"
        at = datetime(2026, 11, 22, 12, number, tzinfo=UTC)
        always_trim.open(lease(stream), [event(0, stream=stream, at=at)])
        finish(always_trim, Event(SESSION, stream, schema.END_SEQUENCE, "response", "{}", at + timedelta(seconds=1)))
        assert always_trim.events.count(SESSION) <= 3


def test_a_stream_whose_end_is_trimmed_is_unknown_and_one_that_goes_on_is_not(always_trim: StreamStore) -> None:
    running, ended = STREAM, LATER
    always_trim.open(lease(running), [event(0, stream=running)])
    always_trim.open(lease(ended), [event(1, stream=ended)])
    finish(always_trim, end(stream=ended))
    at = datetime(2026, 11, 22, 13, tzinfo=UTC)
    always_trim.events.append([event(number, stream=running, at=at) for number in range(1, 4)])
    assert always_trim.lease(SESSION, ended) is None
    assert always_trim.lease(SESSION, running) is not None


def test_the_standalone_streams_newest_events_are_not_its_sessions_oldest(always_trim: StreamStore) -> None:
    # Its id is as old as the session, so it sorts before every other stream.
    assert STANDALONE < STREAM
    always_trim.open(lease(), [event(0), event(1), event(2)])
    claim(always_trim, "a")
    newest = event(0, stream=STANDALONE, at=datetime(2026, 11, 22, 13, tzinfo=UTC))
    assert deliver(always_trim, "a", [newest])
    assert always_trim.events.since(SESSION) == [newest, event(1), event(2)]


def test_a_trimmed_large_event_leaves_no_part(always_trim: StreamStore) -> None:
    always_trim.open(lease(), [event(0, "x" * (2 * PART_BYTES + 1))])
    always_trim.events.append([event(number) for number in range(1, 4)])
    assert keys(always_trim) == [schema.lease_id(STREAM), *(event(number).event_id for number in range(1, 4))]


# --- The standalone stream ------------------------------------------------------------------------------------


def test_the_newest_claim_holds_the_stream(store: StreamStore, wire: Wire) -> None:
    assert store.standalone.waiting(SESSION, STANDALONE) == (None, [])
    for owner in ("a", "b", "a"):
        with wire.counting() as requests:
            assert claim(store, owner) == -1
        assert requests == {"UpdateItem": 1}
        assert store.standalone.waiting(SESSION, STANDALONE) == (owner, [])


def test_messages_wait_in_the_order_they_were_sent(store: StreamStore, clock: Clock) -> None:
    for number in range(5):
        store.standalone.send(SESSION, STANDALONE, "notifications/message", f"{number}")
        clock.advance(milliseconds=1)
    claim(store, "a")
    holder, waiting = store.standalone.waiting(SESSION, STANDALONE)
    assert holder == "a"
    assert [message.data for message in waiting] == ["0", "1", "2", "3", "4"]
    assert {message.event_type for message in waiting} == {"notifications/message"}


def test_an_inbox_is_of_one_stream_and_one_session(store: StreamStore) -> None:
    store.standalone.send(SESSION, STANDALONE, "a", "{}")
    assert store.standalone.waiting("other", STANDALONE) == (None, [])
    assert store.standalone.waiting(SESSION, STREAM) == (None, [])


def test_a_message_that_expired_waits_no_more(store: StreamStore, clock: Clock) -> None:
    store.standalone.send(SESSION, STANDALONE, "a", "{}")
    clock.advance(hours=6)
    store.standalone.send(SESSION, STANDALONE, "a", "[]")
    assert [message.data for message in store.standalone.waiting(SESSION, STANDALONE)[1]] == ["[]"]


def test_a_delivery_makes_events_of_messages_in_one_request(store: StreamStore, wire: Wire) -> None:
    claim(store, "a")
    for number in range(2):
        store.standalone.send(SESSION, STANDALONE, "notifications/message", f"{number}")
    _, waiting = store.standalone.waiting(SESSION, STANDALONE)
    made = [event(place, message.data, stream=STANDALONE) for place, message in enumerate(waiting)]
    with wire.counting() as requests:
        assert deliver(store, "a", made, [message.key for message in waiting])
    assert requests == {"TransactWriteItems": 1}
    assert store.events.since(SESSION) == made
    assert store.standalone.waiting(SESSION, STANDALONE) == ("a", [])


def test_only_the_holder_delivers(store: StreamStore) -> None:
    assert not deliver(store, "a", [event(0, stream=STANDALONE)])
    claim(store, "a")
    claim(store, "b")
    store.standalone.send(SESSION, STANDALONE, "notifications/message", "{}")
    (waiting,) = store.standalone.waiting(SESSION, STANDALONE)[1]
    assert not deliver(store, "a", [event(0, stream=STANDALONE)], [waiting.key])
    assert store.events.since(SESSION) == []
    assert store.standalone.waiting(SESSION, STANDALONE) == ("b", [waiting])


def test_a_message_is_taken_once(store: StreamStore) -> None:
    claim(store, "a")
    store.standalone.send(SESSION, STANDALONE, "notifications/message", "{}")
    (waiting,) = store.standalone.waiting(SESSION, STANDALONE)[1]
    assert deliver(store, "a", [event(0, stream=STANDALONE)], [waiting.key])
    assert not deliver(store, "a", [event(1, stream=STANDALONE)], [waiting.key])
    assert not deliver(store, "a", [event(0, stream=STANDALONE)])
    assert store.events.count(SESSION) == 1


def test_a_new_holder_goes_on_where_the_last_one_stopped(store: StreamStore) -> None:
    assert claim(store, "a") == -1
    assert deliver(store, "a", [event(0, stream=STANDALONE), event(1, stream=STANDALONE)])
    assert claim(store, "b") == 1
    assert deliver(store, "b", [event(2, stream=STANDALONE)])
    assert claim(store, "c") == 2


def test_no_sequence_is_used_again_when_the_events_are_gone(store: StreamStore) -> None:
    claim(store, "a")
    deliver(store, "a", [event(number, stream=STANDALONE) for number in range(3)])
    store.events.delete_before(SESSION, schema.STREAMS_END)
    assert store.events.count(SESSION) == 0
    assert claim(store, "b") == 2


def test_the_newest_sequence_is_kept_for_as_long_as_its_event(store: StreamStore, clock: Clock) -> None:
    claim(store, "a")
    clock.advance(hours=5)
    deliver(store, "a", [event(0, stream=STANDALONE)])
    ttls = {item["event_id"]["S"]: item["ttl"]["N"] for item in raw_items(store.events.dynamodb, store.events.table)}
    assert ttls[schema.lease_id(STANDALONE)] == ttls[event(0, stream=STANDALONE).event_id]


def test_holders_that_race_make_one_event_of_each_message(store: StreamStore) -> None:
    count, holders = 24, 4
    for number in range(count):
        store.standalone.send(SESSION, STANDALONE, "notifications/message", f"{number}")

    def hold(number: int) -> None:
        """Take over, drain what is left, and again, as clients do that reconnect without end."""
        for turn in range(12):
            owner = f"{number}.{turn}"
            sequence = 1 + claim(store, owner)
            holder, waiting = store.standalone.waiting(SESSION, STANDALONE)
            if not waiting:
                return
            if holder == owner:
                message = waiting[0]
                deliver(store, owner, [event(sequence, message.data, stream=STANDALONE)], [message.key])

    at_once(holders, hold)
    owner = "last"
    sequence = 1 + claim(store, owner)
    _, waiting = store.standalone.waiting(SESSION, STANDALONE)
    for start in range(0, len(waiting), MAX_DELIVERY):
        chunk = waiting[start : start + MAX_DELIVERY]
        made = [event(sequence + place, message.data, stream=STANDALONE) for place, message in enumerate(chunk)]
        assert deliver(store, owner, made, [message.key for message in chunk])
        sequence += len(made)

    stored = store.events.since(SESSION)
    assert sorted(int(one.data) for one in stored) == list(range(count))
    assert [one.sequence for one in stored] == list(range(count))
    assert store.standalone.waiting(SESSION, STANDALONE)[1] == []


def test_a_transaction_may_be_as_long_and_as_large_as_it_says(store: StreamStore) -> None:
    claim(store, "a")
    size = MAX_DELIVERY_BYTES // MAX_DELIVERY
    for _ in range(MAX_DELIVERY):
        store.standalone.send(SESSION, STANDALONE, "notifications/message", "x" * size)
    _, waiting = store.standalone.waiting(SESSION, STANDALONE)
    made = [event(place, message.data, stream=STANDALONE) for place, message in enumerate(waiting)]
    assert len(made) == MAX_DELIVERY
    assert deliver(store, "a", made, [message.key for message in waiting])
    assert store.events.count(SESSION) == MAX_DELIVERY


def test_a_message_that_no_item_can_hold_is_refused(store: StreamStore) -> None:
    claim(store, "a")
    store.standalone.send(SESSION, STANDALONE, "a", "x" * PART_BYTES)
    with pytest.raises(EventTooLarge, match=f"{PART_BYTES + 1} bytes"):
        store.standalone.send(SESSION, STANDALONE, "a", "x" * (PART_BYTES + 1))
    with pytest.raises(EventTooLarge):
        deliver(store, "a", [event(0, "€" * PART_BYTES, stream=STANDALONE)])
    assert len(store.standalone.waiting(SESSION, STANDALONE)[1]) == 1


def _cancelled(*codes: str) -> dict[str, Any]:
    return {
        "Error": {"Code": "TransactionCanceledException", "Message": "cancelled"},
        "CancellationReasons": [{"Code": code} for code in codes],
    }


CONFLICT = {"Error": {"Code": "TransactionConflictException", "Message": "conflict"}}


def test_a_delivery_that_meets_another_transaction_is_tried_again(store: StreamStore) -> None:
    claim(store, "a")
    conflict = _cancelled("TransactionConflict", "None")
    with answering(store.events.dynamodb, "TransactWriteItems", conflict, times=2):
        assert deliver(store, "a", [event(0, stream=STANDALONE)])
    assert store.events.count(SESSION) == 1
    with (
        answering(store.events.dynamodb, "TransactWriteItems", conflict, times=ATTEMPTS),
        pytest.raises(StorageUnavailable),
    ):
        deliver(store, "a", [event(1, stream=STANDALONE)])
    assert deliver(store, "a", [event(1, stream=STANDALONE)])


def test_a_delivery_that_lost_the_stream_is_not_tried_again(store: StreamStore, wire: Wire) -> None:
    claim(store, "b")
    refused = _cancelled("ConditionalCheckFailed", "TransactionConflict")
    with answering(store.events.dynamodb, "TransactWriteItems", refused), wire.counting() as requests:
        assert not deliver(store, "a", [event(0, stream=STANDALONE)])
    assert requests == {"TransactWriteItems": 1}


@on_dynamodb_local  # moto looks at no token.
def test_a_delivery_that_is_sent_again_is_made_once_and_still_its_callers(store: StreamStore) -> None:
    def sent_twice(request: Request) -> Operation[Any]:
        yield request
        return (yield request)

    claim(store, "a")
    store.standalone.send(SESSION, STANDALONE, "notifications/message", "{}")
    _, (waiting,) = store.standalone.waiting(SESSION, STANDALONE)
    with replacing(store, "TransactWriteItems", sent_twice):
        assert deliver(store, "a", [event(0, stream=STANDALONE)], [waiting.key])
    assert store.events.count(SESSION) == 1
    assert not deliver(store, "a", [event(1, stream=STANDALONE)], [waiting.key])


def test_a_claim_that_meets_a_delivery_is_tried_again(store: StreamStore) -> None:
    with answering(store.events.dynamodb, "UpdateItem", CONFLICT, times=2):
        assert claim(store, "a") == -1
    assert store.standalone.waiting(SESSION, STANDALONE)[0] == "a"
    with answering(store.events.dynamodb, "UpdateItem", CONFLICT), pytest.raises(StorageUnavailable):
        claim(store, "b")


# --- Answers to our requests ----------------------------------------------------------------------------------


def test_an_answer_waits_under_its_requests_id(store: StreamStore, wire: Wire) -> None:
    assert store.replies.put(SESSION, "s-1", '{"n":1}')
    assert store.replies.get([]) == {}
    asked = [(SESSION, "s-1"), (SESSION, "s-2"), ("other", "s-1")]
    with wire.counting() as requests:
        assert store.replies.get(asked) == {(SESSION, "s-1"): '{"n":1}'}
    assert requests == {"BatchGetItem": 1}


def test_a_hundred_answers_cost_one_request(store: StreamStore, wire: Wire) -> None:
    asked = [(SESSION, f"s-{number}") for number in range(100)]
    for number, (session_id, request_id) in enumerate(asked):
        store.replies.put(session_id, request_id, f"{number}")
    with wire.counting() as requests:
        assert store.replies.get(asked) == {key: f"{number}" for number, key in enumerate(asked)}
    assert requests == {"BatchGetItem": 1}


def test_the_first_answer_counts(store: StreamStore) -> None:
    assert store.replies.put(SESSION, "s-1", "first")
    assert not store.replies.put(SESSION, "s-1", "second")
    assert store.replies.get([(SESSION, "s-1")]) == {(SESSION, "s-1"): "first"}


def test_of_many_answers_at_once_one_counts(store: StreamStore) -> None:
    taken = at_once(8, lambda number: store.replies.put(SESSION, "s-1", f"by {number}"))
    assert taken.count(True) == 1
    assert store.replies.get([(SESSION, "s-1")]) == {(SESSION, "s-1"): f"by {taken.index(True)}"}


@on_asyncio
def test_of_many_tasks_that_answer_one_counts(store: StreamStore, driver: LoopDriver) -> None:
    replies = store.operations.replies
    taken = driver.together(replies.put(SESSION, "s-1", f"by {number}") for number in range(40))
    assert taken.count(True) == 1
    assert store.replies.get([(SESSION, "s-1")]) == {(SESSION, "s-1"): f"by {taken.index(True)}"}


@on_asyncio
def test_what_tasks_send_at_once_is_all_there(store: StreamStore, driver: LoopDriver) -> None:
    def say(number: int) -> Operation[None]:
        yield from store.operations.standalone.send(SESSION, STANDALONE, "notifications/message", f"{number}")

    driver.together(say(number) for number in range(40))
    assert sorted(int(message.data) for message in store.standalone.waiting(SESSION, STANDALONE)[1]) == list(range(40))


@pytest.mark.parametrize("size", [PART_BYTES, PART_BYTES + 1, 5 * PART_BYTES])
def test_an_answer_may_be_as_large_as_an_event(store: StreamStore, size: int) -> None:
    text = "é" * (size // 2)
    assert store.replies.put(SESSION, "s-1", text)
    assert store.replies.get([(SESSION, "s-1")]) == {(SESSION, "s-1"): text}


def test_large_answers_to_one_request_do_not_mix(store: StreamStore) -> None:
    texts = [f"{number}" * (3 * PART_BYTES) for number in range(4)]
    taken = at_once(4, lambda number: store.replies.put(SESSION, "s-1", texts[number]))
    assert taken.count(True) == 1
    assert store.replies.get([(SESSION, "s-1")]) == {(SESSION, "s-1"): texts[taken.index(True)]}


def test_an_answer_that_is_being_deleted_hides_no_other(store: StreamStore) -> None:
    store.replies.put(SESSION, "s-1", "x" * (PART_BYTES + 1))
    store.replies.put(SESSION, "s-2", "{}")
    (part,) = [
        item
        for item in raw_items(store.events.dynamodb, store.events.table)
        if "data" in item and item["data"]["S"] == "x"
    ]
    key = {name: part[name] for name in ("session_id", "event_id")}
    store.events.dynamodb.delete_item(TableName=store.events.table, Key=key)
    assert store.replies.get([(SESSION, "s-1"), (SESSION, "s-2")]) == {(SESSION, "s-2"): "{}"}


def test_answers_expire_together_with_their_parts(store: StreamStore, clock: Clock) -> None:
    store.replies.put(SESSION, "s-1", "x" * (PART_BYTES + 1))
    ttls = {item["ttl"]["N"] for item in raw_items(store.events.dynamodb, store.events.table)}
    assert ttls == {str(int((clock.now + SIGNAL_TTL).timestamp()))}


# --- The engines ----------------------------------------------------------------------------------------------


@on_moto
def test_a_transaction_of_the_embedded_server_copies_nothing_of_what_its_stream_carried(
    store: StreamStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from moto.dynamodb.models.table import StreamRecord

    def fail(record: StreamRecord, memo: dict[int, Any]) -> StreamRecord:
        raise AssertionError("copied")

    claim(store, "a")
    monkeypatch.setattr(StreamRecord, "__deepcopy__", fail, raising=False)
    assert deliver(store, "a", [event(0, stream=STANDALONE)])
    assert not deliver(store, "b", [event(1, stream=STANDALONE)])
    assert claim(store, "b") == 0


# --- The store itself -----------------------------------------------------------------------------------------


def test_what_another_worker_may_have_written_just_now_is_read_consistently(store: StreamStore, wire: Wire) -> None:
    store.lease(SESSION, STREAM)
    store.standalone.waiting(SESSION, STANDALONE)
    store.replies.get([(SESSION, "s-1")])
    assert [params["ConsistentRead"] for params in wire.of("GetItem")] == [True]
    assert [params["ConsistentRead"] for params in wire.of("Query")] == [True]
    (batch,) = wire.of("BatchGetItem")
    assert all(keys["ConsistentRead"] for keys in batch["RequestItems"].values())


def test_no_item_stays_for_ever(store: StreamStore) -> None:
    store.open(lease(), [event(0)])
    claim(store, "a")
    store.standalone.send(SESSION, STANDALONE, "a", "{}")
    store.replies.put(SESSION, "s-1", "x" * (PART_BYTES + 1))
    finish(store, end("x" * (PART_BYTES + 1)))
    assert all("ttl" in item for item in raw_items(store.events.dynamodb, store.events.table))


def test_the_settings_describe_the_processs_store(settings: Settings) -> None:
    store = default_store()
    assert store is default_store()
    settings.EVENT_TTL_HOURS = 0.5
    assert default_store() is not store
    assert default_store().events.event_ttl == timedelta(minutes=30)
    assert streams.default_store().events.table == settings.DYNAMODB_EVENTS_TABLE
