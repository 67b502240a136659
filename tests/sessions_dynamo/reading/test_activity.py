"""Samples of the time indexes: complete as far back as they say, and bounded whatever the tables hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sessions_dynamo import schema
from sessions_dynamo.reading import activity, entries
from sessions_dynamo.store import batches
from sessions_dynamo.store.calls import Call
from sessions_dynamo.store.events import EventStore
from sessions_dynamo.store.sessions import SessionStore
from tests.sessions_dynamo.support import Wire, record_calls


def moments(count: int, *, apart: timedelta = timedelta(seconds=7)) -> list[datetime]:
    """Times, newest first, the last one a minute ago; whole milliseconds, as they are stored."""
    newest = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)
    return [newest - apart * number for number in range(count)]


def add_sessions(store: SessionStore, times: list[datetime]) -> None:
    """Sessions that were created, and last active, at these times."""
    ids = [schema.new_session_id() for _ in times]
    items: list[dict[str, Any]] = [
        {
            "session_id": {"S": session_id},
            "shard": {"S": schema.shard(session_id)},
            "created_at": {"N": str(entries.to_ms(at))},
            "last_activity": {"N": str(entries.to_ms(at))},
        }
        for session_id, at in zip(ids, times, strict=True)
    ]
    store.drive(batches.put(store.table, items))


def add_calls(store: EventStore, times: list[datetime], *, method: str = "tools/call", outcome: str = "ok") -> None:
    """Served calls, each of another session."""
    calls = [Call(f"session-{number}", at, method, outcome, 1.0, tool="add") for number, at in enumerate(times)]
    record_calls(store, *calls)


class TestSessions:
    def test_every_session_since_then_is_in_the_sample(self, session_store: SessionStore) -> None:
        times = moments(40)
        add_sessions(session_store, times)

        sample = activity.created(session_store, times[24])

        assert list(sample.times) == times[:25]
        assert sample.since == times[24]
        assert not sample.is_cut

    def test_what_does_not_fit_ends_the_sample_where_it_is_still_complete(
        self, session_store: SessionStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(activity, "MAX_ROWS", 3 * schema.SHARDS)
        times = moments(120)
        add_sessions(session_store, times)

        sample = activity.active(session_store, times[-1])

        assert sample.is_cut
        assert times[-1] < sample.since < times[0]
        assert list(sample.times) == [at for at in times if at >= sample.since]
        assert not sample.reaches(times[-1])

    def test_it_is_one_query_a_shard_however_many_there_are(
        self, session_store: SessionStore, wire: Wire, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(activity, "MAX_ROWS", 2 * schema.SHARDS)
        add_sessions(session_store, moments(100))

        with wire.counting() as requests:
            activity.created(session_store, datetime.now(UTC) - timedelta(days=7))

        assert requests == {"Query": schema.SHARDS}
        assert {query["Limit"] for query in wire.of("Query")} == {2}

    def test_sessions_past_the_ttl_are_gone(self, session_store: SessionStore) -> None:
        add_sessions(session_store, moments(3, apart=timedelta(hours=13)))

        sample = activity.active(session_store, datetime.now(UTC) - timedelta(days=7))

        assert len(sample.times) == 2
        assert sample.since > datetime.now(UTC) - session_store.session_ttl - timedelta(minutes=1)
        assert not sample.is_cut

    def test_an_empty_table_is_an_empty_sample_that_reaches_back(self, session_store: SessionStore) -> None:
        since = moments(1)[0]
        assert activity.created(session_store, since) == activity.Sample((), since)


class TestTraffic:
    def test_events_and_calls_are_told_apart(self, event_store: EventStore, wire: Wire) -> None:
        times = moments(4)
        add_calls(event_store, times[:3])
        add_calls(event_store, times[3:], outcome="tool_error")
        add_calls(event_store, times[:2], method="ping")
        event_store.store("one", "notifications/message", "{}")
        event_store.store("two", "response", "{}")

        with wire.counting() as requests:
            traffic = activity.traffic(event_store, times[-1])

        assert list(traffic.tool_calls.times) == times
        assert list(traffic.tool_errors.times) == times[3:]
        assert len(traffic.events.times) == 2
        assert requests == {"Query": schema.SHARDS, "BatchGetItem": 1}

    def test_calls_are_read_so_far_and_events_further(
        self, event_store: EventStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(activity, "MAX_CALLS", 5)
        times = moments(20)
        add_calls(event_store, times)

        traffic = activity.traffic(event_store, times[-1])

        assert list(traffic.tool_calls.times) == times[:5]
        assert traffic.tool_calls.since == traffic.tool_errors.since == times[4]
        assert traffic.tool_calls.is_cut
        assert traffic.events.since == times[-1]
        assert not traffic.events.is_cut

    def test_what_has_expired_is_gone(self, event_store: EventStore) -> None:
        add_calls(event_store, moments(3, apart=timedelta(hours=4)))
        assert len(activity.traffic(event_store, datetime.now(UTC) - timedelta(days=1)).tool_calls.times) == 2
