"""What a deployment runs on a schedule: everything here also happens by itself, later.

The work is in eight parts, the indexes' shards, taken in random order: a run that is stopped, by a limit or a kill,
leaves nothing undone that a later run does not find, and every part has its turn.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, TypeVar

from sessions_dynamo import chunks, schema, worker_keys
from sessions_dynamo.reading.index_pages import SHARDS
from sessions_dynamo.reading.item_kinds import SessionsKind
from sessions_dynamo.reading.session_list import SessionList
from sessions_dynamo.reading.stored import stored_by_session
from sessions_dynamo.store import batches, session_items, times
from sessions_dynamo.store.batches import Item
from sessions_dynamo.store.events import EventStore
from sessions_dynamo.upkeep import orphans
from sessions_dynamo.upkeep.orphans import SAFE_AGE, Orphan

T = TypeVar("T")

WORKERS: Final = 32
"""Sessions or large values that are seen to at once; each thread waits for one request."""
SEGMENTS: Final = 16
"""Of the Scan for orphans: what is read between two looks at the clock."""


@dataclass(frozen=True, slots=True)
class Task:
    """What one run shall do. Without ``delete`` it counts what it would delete."""

    idle: timedelta | None = None
    """Delete sessions that were not used for so long, too; by default those past their ``ttl`` alone."""
    orphans: bool = False
    """Scan the sessions table for large values and regions' state that belong to no session."""
    limit: int | None = None
    """Sessions and large values that one run sees to."""
    seconds: float | None = None
    delete: bool = True


@dataclass(slots=True)
class Tally:
    """What one run did, or in a dry run would do."""

    sessions: int = 0
    session_items: int = 0
    """Items of events that went with those sessions."""
    stray_sessions: int = 0
    """Sessions that were gone already and had left items of events."""
    stray_items: int = 0
    trimmed_sessions: int = 0
    surplus_events: int = 0
    large_values: int = 0
    region_entries: int = 0
    parts: int = 0
    """Parts that were seen through, of ``of_parts``."""
    of_parts: int = len(SHARDS)
    expired: int = field(default=0, compare=False)
    """Sessions that the index named as expired or idle at the start, about."""
    seen: int = field(default=0, compare=False)
    """Those of them that were seen to, deleted or kept because their client had come back."""

    @property
    def left(self) -> int:
        """About how many expired or idle sessions were not seen to."""
        return 0 if self.is_complete else max(0, self.expired - self.seen)

    @property
    def is_complete(self) -> bool:
        """Whether the run saw all that there is to do."""
        return self.parts == self.of_parts


class _Stopped(Exception):
    """The run has reached its limit or its time."""


def maintain(
    sessions: SessionList,
    events: EventStore,
    task: Task | None = None,
    *,
    tally: Tally | None = None,
    progress: Callable[[Tally], None] | None = None,
) -> Tally:
    """Delete expired and idle sessions with their events, events of sessions that are gone, and surplus events.

    Safe beside live servers: a session is deleted on the condition that it is still expired or idle. ``tally`` counts
    along, so that it stands whatever ends the run.
    """
    run = _Run(sessions, events, task or Task(), Tally() if tally is None else tally, progress)
    try:
        with ThreadPoolExecutor(WORKERS) as pool:
            run.count(pool)
            run.all_parts(pool)
    except _Stopped:
        pass
    return run.tally


class _Counting:
    """The tally, for one thread at a time."""

    def __init__(self, tally: Tally) -> None:
        self._tally, self._lock = tally, threading.Lock()

    def __enter__(self) -> Tally:
        self._lock.acquire()
        return self._tally

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class _Run:
    """One run, while it lasts."""

    def __init__(
        self,
        sessions: SessionList,
        events: EventStore,
        task: Task,
        tally: Tally,
        progress: Callable[[Tally], None] | None,
    ) -> None:
        self._sessions, self._events, self._task, self.tally = sessions, events, task, tally
        self._progress = progress
        self._counting = _Counting(tally)
        self._now = times.from_ms(schema.now_ms())
        # Activity is stored floored: a session of that same minute may have been active after it.
        self._idle_since = None if task.idle is None else session_items.floor(self._now - task.idle)
        self._left = task.limit
        self._ends = None if task.seconds is None else time.monotonic() + task.seconds
        tally.of_parts = len(SHARDS) + (SEGMENTS if task.orphans else 0)

    def count(self, pool: ThreadPoolExecutor) -> None:
        """What is to be done, for whoever wants to know how long it takes: index rows, keys only."""
        counts = pool.map(lambda shard: self._sessions.count_expired(shard, self._now, self._idle_since), SHARDS)
        self.tally.expired = sum(counts)

    def all_parts(self, pool: ThreadPoolExecutor) -> None:
        for shard in random.sample(SHARDS, len(SHARDS)):
            expired = self._expire(pool, shard)
            self._tidy_events(pool, shard, expired)
            self.tally.parts += 1
        if self._task.orphans:
            for segment in random.sample(range(SEGMENTS), SEGMENTS):
                self._delete_orphans(pool, segment)
                self.tally.parts += 1

    # --- Sessions ---------------------------------------------------------------------------------------------

    def _expire(self, pool: ThreadPoolExecutor, shard: str) -> set[str]:
        """Delete the expired sessions of a shard; the ids of those that were found."""
        found: set[str] = set()

        def remembered() -> Iterator[str]:
            for session_id in self._sessions.expired(shard, self._now, self._idle_since):
                found.add(session_id)
                yield session_id

        self._each(pool, self._expire_one, remembered())
        return found

    def _expire_one(self, session_id: str) -> None:
        # Before the session goes: one of the same id, a user's, may begin right after it, and these are not its items.
        items = self._events.item_keys(session_id)
        store = self._sessions.store
        came_back = self._task.delete and not store.delete_if_inactive(
            session_id, now=self._now, idle_since=self._idle_since
        )
        with self._counting as tally:
            tally.seen += 1
            tally.sessions += not came_back
        if came_back:
            return
        self._delete_items(items)
        with self._counting as tally:
            tally.session_items += len(items)

    # --- Events -----------------------------------------------------------------------------------------------

    def _tidy_events(self, pool: ThreadPoolExecutor, shard: str, expired: set[str]) -> None:
        self._look_at_the_clock()
        found = self._events.drive(stored_by_session(self._events.table, shard))
        # What is left of the expired ones is an index that lags behind. What workers tell each other is no session's,
        # so that it is not there says nothing.
        stored = {
            session_id: each
            for session_id, each in found.items()
            if session_id not in expired and not worker_keys.is_of_workers(session_id)
        }
        old = times.to_ms(self._now - SAFE_AGE)
        self._each(pool, self._delete_stray, self._strays(key for key, each in stored.items() if each.since <= old))
        most = self._events.max_events
        self._each(pool, self._trim, (key for key, each in stored.items() if each.events > most))

    def _strays(self, session_ids: Iterable[str]) -> Iterator[str]:
        """Those of some sessions that are gone."""
        for chunk in chunks.chunks(session_ids, batches.GET_SIZE):
            existing = self._sessions.existing(chunk)
            yield from (session_id for session_id in chunk if session_id not in existing)

    def _delete_stray(self, session_id: str) -> None:
        items = self._events.item_keys(session_id)
        # Once more: it may have begun since it was looked up with others, and all that was found is its own then.
        if session_id in self._sessions.existing([session_id]):
            return
        self._delete_items(items)
        with self._counting as tally:
            tally.stray_sessions += bool(items)
            tally.stray_items += len(items)

    def _trim(self, session_id: str) -> None:
        if self._task.delete:
            surplus = self._events.trim(session_id)
        else:
            surplus = max(0, self._events.count(session_id) - self._events.max_events)
        with self._counting as tally:
            tally.trimmed_sessions += surplus > 0
            tally.surplus_events += surplus

    def _delete_items(self, keys: Sequence[Item]) -> None:
        if self._task.delete:
            self._events.drive(batches.delete(self._events.table, keys))

    # --- Orphans ----------------------------------------------------------------------------------------------

    def _delete_orphans(self, pool: ThreadPoolExecutor, segment: int) -> None:
        self._look_at_the_clock()
        self._each(pool, self._delete_orphan, orphans.find(self._sessions.store, segment=segment, segments=SEGMENTS))

    def _delete_orphan(self, orphan: Orphan) -> None:
        if self._task.delete and not orphans.delete(self._sessions.store, orphan):
            return
        with self._counting as tally:
            tally.large_values += orphan.kind is SessionsKind.VALUE
            tally.region_entries += orphan.kind is SessionsKind.REGION

    # --- Bounds -----------------------------------------------------------------------------------------------

    def _each(self, pool: ThreadPoolExecutor, work: Callable[[T], None], items: Iterable[T]) -> None:
        """Do the work on every item, ``WORKERS`` at once; what has begun is ended whatever happens."""
        running: deque[Future[None]] = deque()
        try:
            for item in items:
                self._take_one()
                if len(running) == WORKERS:
                    running.popleft().result()
                running.append(pool.submit(work, item))
                if self._progress:
                    self._progress(self.tally)
        finally:
            wait(running)
        for future in running:
            future.result()

    def _take_one(self) -> None:
        """Raise ``_Stopped`` once the run has seen to all that it may."""
        self._look_at_the_clock()
        if self._left is not None:
            if self._left == 0:
                raise _Stopped
            self._left -= 1

    def _look_at_the_clock(self) -> None:
        if self._ends is not None and time.monotonic() >= self._ends:
            raise _Stopped
