"""Workers that write at once. On DynamoDB Local alone: moto serves one request at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any, TypeVar

import boto3
import pytest

from sessions_dynamo.errors import SessionExists, SessionNotFound, StateConflict, StateTooLarge
from sessions_dynamo.operations import Driver, Operation
from sessions_dynamo.reading.session_list import SessionList
from sessions_dynamo.store import batches
from sessions_dynamo.store.session_items import MAX_KEYS
from sessions_dynamo.store.sessions import SessionStore
from tests.engines import on_dynamodb_local
from tests.sessions_dynamo.drivers import LoopDriver, on_asyncio
from tests.sessions_dynamo.support import created_with, large_values, raw_session, state_of

pytestmark = on_dynamodb_local

THREADS = 8
T = TypeVar("T")


@pytest.fixture
def loops(driver: Driver) -> Iterator[list[LoopDriver]]:
    """Two loops, each in a thread of its own; none where boto3 drives."""
    if isinstance(driver, LoopDriver):
        with LoopDriver() as other:
            yield [driver, other]
    else:
        yield []


@pytest.fixture
def workers(session_store: SessionStore, engine: tuple[str, str], loops: list[LoopDriver]) -> list[SessionStore]:
    """Two stores, each with a client or a loop of its own, as two processes have."""
    other: Any = boto3.session.Session(region_name="eu-west-1").client("dynamodb", endpoint_url=engine[1])
    same = SessionStore(
        other,
        session_store.table,
        session_ttl=timedelta(hours=24),
        terminated_ttl=timedelta(hours=6),
        driver=loops[1] if loops else None,
    )
    return [session_store, same]


def at_once(work: Callable[[int], T], times: int = THREADS) -> list[T]:
    """The results of the work of ``times`` threads that begin together."""
    barrier = Barrier(times)

    def begin(number: int) -> T:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(begin, range(times)))


def test_counters_are_exact(workers: list[SessionStore]) -> None:
    workers[0].create("abc")

    def count(number: int) -> list[int]:
        store = workers[number % 2]
        session = store.load("abc")
        return [store.incr(session, "runs", 1 + number % 2) for _ in range(25)]

    counts = [value for values in at_once(count) for value in values]
    assert workers[0].load("abc").counters == {"runs": 4 * 25 * 1 + 4 * 25 * 2}
    assert len(set(counts)) == len(counts) == 8 * 25, "each call saw a value of its own"


def test_distinct_keys_written_at_once_are_all_there(workers: list[SessionStore]) -> None:
    workers[0].create("abc")

    def write(number: int) -> None:
        for turn in range(5):
            store = workers[number % 2]
            session = store.load("abc")
            session.state[f"k{number}-{turn}"] = "x" * (5000 if turn == 0 else 10)
            store.save(session)

    at_once(write)
    session = workers[1].load("abc")
    assert sorted(session.state) == sorted(f"k{number}-{turn}" for number in range(THREADS) for turn in range(5))
    assert all(session.state.values())


@pytest.mark.parametrize("padding", [0, 5000], ids=["inline", "large"])
def test_reading_and_writing_one_key_loses_no_update(workers: list[SessionStore], padding: int) -> None:
    workers[0].create("abc", state=state_of(total="x" * padding))

    def add(number: int) -> int:
        store, conflicts = workers[number % 2], 0
        for _ in range(4):
            while True:
                session = store.load("abc")
                try:
                    session.state["total"] = session.state["total"] + "!"
                    store.save(session)
                    break
                except StateConflict:
                    conflicts += 1
        return conflicts

    conflicts = sum(at_once(add))
    assert workers[0].load("abc").state["total"] == "x" * padding + "!" * 4 * THREADS
    assert conflicts, "the workers did meet"
    assert len(large_values(workers[0])) == bool(padding)


def test_one_of_many_creates_an_id(workers: list[SessionStore]) -> None:
    def create(number: int) -> bool:
        try:
            workers[number % 2].create("abc", state=state_of(mine=number, large="x" * 5000))
        except SessionExists:
            return False
        return True

    created = at_once(create)
    assert created.count(True) == 1
    session = workers[0].load("abc")
    assert session.state["mine"] == created.index(True)
    assert session.state["large"] == "x" * 5000
    assert len(large_values(workers[0])) == 1


@pytest.mark.parametrize("end", ["terminate", "delete"])
def test_no_writer_revives_a_session_that_ends_meanwhile(workers: list[SessionStore], end: str) -> None:
    workers[0].create("abc")
    # All before one ends it: a loop's first request takes longer than an end.
    loaded = [workers[number % 2].load("abc") for number in range(THREADS)]

    def write(number: int) -> int:
        store, session, written = workers[number % 2], loaded[number], 0
        if number == 0:
            store.incr(session, "before")
            getattr(store, end)("abc")
            return 0
        try:
            while True:
                session.state[f"k{number}"] = "x" * (5000 if number % 4 == 0 else 10)
                store.save(session)
                written += store.incr(session, "runs") > 0
        except SessionNotFound:
            return written

    written = at_once(write)
    item = raw_session(workers[0], "abc")
    if end == "delete":
        assert item is None
    else:
        assert item is not None
        assert "terminated_at" in item
        ended = workers[0].peek("abc")
        assert ended is not None
        assert ended.counters.get("runs", 0) == sum(written)
        pointed = {entry["M"]["item_id"]["S"] for entry in item["state"]["M"].values() if "M" in entry}
        assert pointed == large_values(workers[0]).keys()


def test_workers_that_add_keys_at_once_stop_at_the_limit(workers: list[SessionStore]) -> None:
    session_id = created_with(workers[0], {f"k{number}": "1" for number in range(MAX_KEYS - 3)}).session_id

    def add(number: int) -> bool:
        store = workers[number % 2]
        session = store.load(session_id)
        session.state[f"new{number}"] = 1
        try:
            store.save(session)
        except StateTooLarge:
            return False
        return True

    assert at_once(add).count(True) == 3
    assert len(workers[0].load(session_id).state) == MAX_KEYS


def test_readers_of_a_value_that_is_replaced_see_one_value_whole(workers: list[SessionStore]) -> None:
    workers[0].create("abc", state=state_of(k=["0" * 5000, "0" * 5000]))

    def read_or_write(number: int) -> None:
        store = workers[number % 2]
        for turn in range(10):
            session = store.load("abc")
            if number == 0:
                session.state["k"] = [str(turn) * (5000 + turn), str(turn) * (5000 + turn)]
                store.save(session)
            else:
                try:
                    first, second = session.state["k"]
                except StateConflict:
                    continue
                assert first == second

    at_once(read_or_write)
    assert len(large_values(workers[0])) == 1


def test_pages_are_read_while_sessions_are_deleted(session_store: SessionStore) -> None:
    for number in range(120):
        session_store.create(f"s{number}")
    session_pages = SessionList(session_store)

    def page_or_delete(number: int) -> list[str]:
        if number == 0:
            keys = [{"session_id": {"S": f"s{number}"}} for number in range(0, 120, 2)]
            session_store.drive(batches.delete(session_store.table, keys))
            return []
        listed, cursor = [], None
        while True:
            page = session_pages.page("created_at", limit=20, cursor=cursor)
            listed += [session.session_id for session in page.items]
            if (cursor := page.next_cursor) is None:
                return listed

    for listed in at_once(page_or_delete, 3)[1:]:
        assert len(set(listed)) == len(listed)
        assert {f"s{number}" for number in range(1, 120, 2)} <= set(listed)


# --- Tasks: many on each loop, asked for by many threads ------------------------------------------------------

TASKS = 25


@on_asyncio
def test_counters_are_exact_among_tasks(workers: list[SessionStore], loops: list[LoopDriver]) -> None:
    workers[0].create("abc")

    def count(number: int) -> list[int]:
        session, operations = workers[number % 2].load("abc"), workers[number % 2].operations
        return loops[number % 2].together(operations.incr(session, "runs") for _ in range(TASKS))

    counts = [value for values in at_once(count) for value in values]
    assert sorted(counts) == list(range(1, THREADS * TASKS + 1)), "each task saw a value of its own"
    assert workers[1].load("abc").counters == {"runs": THREADS * TASKS}


@on_asyncio
def test_tasks_that_read_and_write_one_key_lose_no_update(workers: list[SessionStore], loops: list[LoopDriver]) -> None:
    workers[0].create("abc", state=state_of(total=""))

    def add(store: SessionStore) -> Operation[int]:
        conflicts = 0
        while True:
            session = yield from store.operations.load("abc")
            session.state["total"] = session.state["total"] + "!"
            try:
                yield from store.operations.save(session)
            except StateConflict:
                conflicts += 1
            else:
                return conflicts

    def work(number: int) -> int:
        return sum(loops[number % 2].together(add(workers[number % 2]) for _ in range(3)))

    conflicts = sum(at_once(work, 4))
    assert workers[0].load("abc").state["total"] == "!" * 4 * 3
    assert conflicts, "the tasks did meet"


@on_asyncio
def test_one_of_many_tasks_creates_an_id(workers: list[SessionStore], loops: list[LoopDriver]) -> None:
    def create(store: SessionStore, name: str) -> Operation[str]:
        try:
            yield from store.operations.create("abc", state=state_of(mine=name, large="x" * 5000))
        except SessionExists:
            return ""
        return name

    def work(number: int) -> list[str]:
        store = workers[number % 2]
        return loops[number % 2].together(create(store, f"{number}-{task}") for task in range(TASKS))

    (creator,) = [name for names in at_once(work, 4) for name in names if name]
    session = workers[0].load("abc")
    assert session.state["mine"] == creator
    assert session.state["large"] == "x" * 5000
    assert len(large_values(workers[0])) == 1


@on_asyncio
def test_tasks_that_wait_for_each_others_sessions_all_end(workers: list[SessionStore], loops: list[LoopDriver]) -> None:
    """More at once than a loop has connections."""

    def live(store: SessionStore, number: int) -> Operation[int]:
        session = yield from store.operations.create(state=state_of(mine=number, large="x" * 5000))
        loaded = yield from store.operations.load(session.session_id)
        loaded.state["mine"] = loaded.state["mine"] + 1
        yield from store.operations.save(loaded)
        again = yield from store.operations.load(session.session_id)
        yield from store.operations.delete(session.session_id)
        mine: int = again.state["mine"]
        return mine

    results = loops[0].together(live(workers[0], number) for number in range(100))
    assert results == list(range(1, 101)), "each task has its own answers"
    assert large_values(workers[0]) == {}
