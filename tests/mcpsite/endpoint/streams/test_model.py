"""Streams among workers that die, pause and come back, against a model that cannot lose anything.

The oracle is a list a stream: every client, however often it drops and wherever it resumes, receives exactly its
stream's events, in order, once, and then one end, the same as every other client's. The workers are real and share a
real store; their clock, and when each of them polls, is the test's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from mcp_types import ErrorData, JSONRPCError

from mcpsite.endpoint.peers import inbox, lease, pace, poller, traces, watch
from mcpsite.endpoint.streams import followed, held
from mcpsite.endpoint.streams.owned import OwnedStream
from mcpsite.endpoint.streams.worker import Worker
from mcpsite.endpoint.wire.answers import encode
from sessions_dynamo import schema
from sessions_dynamo.dataplane.loops import close_planes_of_this_loop
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.store.sessions import default_store
from sessions_dynamo.workers.streams import StreamStore
from tests.mcpsite.endpoint.streams.support import Peer, Received, finish, leftovers, log, new_session, owned, text_of

LEASE_SECONDS = 15.0
STEP_SECONDS = 4.0
"""Between two polls of a worker that is well: more than one would fit into a third of a lease."""

PICK = st.integers(0, 11)
"""Chooses among what there is, counted round."""


class Clock:
    """What every worker takes for the time."""

    def __init__(self) -> None:
        self.seconds = time.time()

    def now_ms(self) -> int:
        return int(self.seconds * 1000)

    def monotonic(self) -> float:
        return self.seconds


@dataclass(eq=False)
class Home:
    """A process."""

    worker: Worker
    is_paused: bool = False
    is_dead: bool = False
    heard_at: float = 0.0
    longest_silence: float = 0.0


@dataclass(eq=False)
class Reader:
    """A client of one stream: one connection at a time, and everything that it ever read."""

    peer: Peer | None = None
    home: Home | None = None
    received: list[Received] = field(default_factory=list)
    was_served: bool = False

    def read(self, most: int | None = None) -> None:
        if self.peer is not None:
            self.received += self.peer.read(most)

    def drop(self, most: int | None) -> None:
        """The connection breaks; ``most`` of the frames on their way still arrive."""
        self.read(most)
        if self.peer is not None:
            self.peer.leave()
        self.peer = self.home = None

    @property
    def texts(self) -> list[Any]:
        return [text_of(one.message) for one in self.received if one.data]

    @property
    def cursor(self) -> str | None:
        ids = [one.event_id for one in self.received if one.event_id]
        return ids[-1] if ids else None


@dataclass(eq=False)
class Running:
    """A request that is served, and all of its clients."""

    session: Conversation
    stream: OwnedStream
    home: Home
    readers: list[Reader]
    texts: list[str] = field(default_factory=list)
    is_finished: bool = False
    end: str | None = None


@dataclass(eq=False)
class Conversation:
    """A session: its streams, and what was sent besides."""

    stored: Session
    sent: list[tuple[Home, str]] = field(default_factory=list)
    listener: Reader = field(default_factory=Reader)
    passed: set[str] = field(default_factory=set)
    """What became events before the client, which had no cursor yet, asked for what comes from now on."""
    is_over: bool = False


class Streams(RuleBasedStateMachine):
    """Any order of what clients, handlers, and whoever kills processes may do."""

    clock: ClassVar[Clock]
    store: ClassVar[StreamStore]

    def __init__(self) -> None:
        super().__init__()
        type(self).clock.seconds = time.time()
        self.loop = asyncio.Runner()
        self.homes: list[Home] = []
        self.streams: list[Running] = []
        self.sessions: list[Conversation] = []
        self.texts = 0

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        # Everything takes time: no two messages are of one millisecond.
        self.clock.seconds += 0.001
        return self.loop.run(coroutine)

    @initialize()
    def begin(self) -> None:
        for _ in range(3):
            self.add_home()
        for _ in range(2):
            self.sessions.append(Conversation(new_session()))

    def add_home(self) -> None:
        async def make() -> Worker:
            return Worker()

        worker = self.run(make())
        worker.poll_seconds, worker.lease_seconds = 0.5, LEASE_SECONDS
        self.homes.append(Home(worker, heard_at=self.clock.seconds))

    def text(self) -> str:
        self.texts += 1
        return f"{self.texts}"

    # --- Who there is -----------------------------------------------------------------------------------------

    @property
    def well(self) -> list[Home]:
        return [home for home in self.homes if not (home.is_dead or home.is_paused)]

    @property
    def live_sessions(self) -> list[Conversation]:
        return [session for session in self.sessions if not session.is_over]

    @property
    def served(self) -> list[Running]:
        """The requests whose handlers can do something now."""
        alive = [one for one in self.streams if not (one.is_finished or one.session.is_over)]
        return [one for one in alive if one.home in self.well]

    @property
    def gone(self) -> list[tuple[Running, Reader]]:
        """The clients that may come back: one that has no cursor does not know what for."""
        return [
            (one, reader)
            for one in self.streams
            for reader in one.readers
            if reader.peer is None and reader.cursor and not one.session.is_over and not self.has_end(one, reader)
        ]

    def has_end(self, one: Running, reader: Reader) -> bool:
        return reader.cursor == schema.end_id(one.stream.stream_id)

    # --- Requests ---------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.streams) < 6 and self.live_sessions and self.well)
    @rule(session=PICK, home=PICK)
    def open(self, session: int, home: int) -> None:
        where, whose = chosen(self.well, home), chosen(self.live_sessions, session)
        stream, peer = owned(where.worker, whose.stored, request_id=len(self.streams))
        assert self.run(stream.open())
        self.streams.append(Running(whose, stream, where, [Reader(peer, where)]))

    @precondition(lambda self: self.served)
    @rule(stream=PICK, count=st.integers(1, 3))
    def emit(self, stream: int, count: int) -> None:
        one = chosen(self.served, stream)
        new = [self.text() for _ in range(count)]

        async def at_once() -> None:
            await asyncio.gather(*(one.stream.emit(log(text)) for text in new))

        self.run(at_once())
        one.texts += new

    @precondition(lambda self: self.served)
    @rule(stream=PICK)
    def answer(self, stream: int) -> None:
        one = chosen(self.served, stream)
        self.run(finish(one.stream))
        one.is_finished = True

    @precondition(lambda self: any(one.stream.is_resumable for one in self.served))
    @rule(stream=PICK)
    def send_away(self, stream: int) -> None:
        self.run(chosen(self.served, stream).stream.release_client())

    # --- Clients ----------------------------------------------------------------------------------------------

    @property
    def connected(self) -> list[Reader]:
        return [reader for one in self.streams for reader in one.readers if reader.peer is not None]

    @precondition(lambda self: self.connected)
    @rule(client=PICK, most=st.integers(1, 4) | st.none())
    def read(self, client: int, most: int | None) -> None:
        chosen(self.connected, client).read(most)

    @precondition(lambda self: self.connected)
    @rule(client=PICK, most=st.integers(0, 3) | st.none())
    def drop(self, client: int, most: int | None) -> None:
        chosen(self.connected, client).drop(most)

    @precondition(lambda self: self.gone and self.well)
    @rule(client=PICK, home=PICK)
    def resume(self, client: int, home: int) -> None:
        one, reader = chosen(self.gone, client)
        self.come_back(one, reader, chosen(self.well, home))

    def come_back(self, one: Running, reader: Reader, where: Home) -> None:
        assert reader.cursor is not None
        reader.peer, reader.home = Peer(), where
        self.run(where.worker.resume(one.session.stored, reader.cursor, reader.peer.outbox))

    @precondition(lambda self: self.gone and self.well)
    @rule(client=PICK, home=PICK)
    def resume_twice(self, client: int, home: int) -> None:
        """Another window with the same cursor."""
        one, reader = chosen(self.gone, client)
        other = Reader(received=list(reader.received))
        if len(one.readers) < 3:
            one.readers.append(other)
            self.come_back(one, other, chosen(self.well, home))

    # --- The standalone stream --------------------------------------------------------------------------------

    @precondition(lambda self: self.live_sessions and self.well)
    @rule(session=PICK, home=PICK, most=st.integers(0, 2) | st.none(), tells=st.booleans())
    def take_over(self, session: int, home: int, most: int | None, tells: bool) -> None:
        whose = chosen(self.live_sessions, session)
        whose.listener.read(most)
        if tells and whose.listener.peer is not None:
            # Otherwise the server takes the older connection for open still.
            whose.listener.peer.leave()
        self.listen(whose, chosen(self.well, home))

    def listen(self, whose: Conversation, where: Home) -> None:
        listener, worker = whose.listener, where.worker
        if listener.cursor is None and listener.was_served:
            whose.passed |= {text for _, text in whose.sent}
        listener.peer, listener.home, listener.was_served = Peer(), where, True
        if listener.cursor is None:
            self.run(worker.hold(whose.stored, listener.peer.outbox))
        else:
            self.run(worker.resume(whose.stored, listener.cursor, listener.peer.outbox))

    @precondition(lambda self: self.live_sessions and self.well)
    @rule(session=PICK, home=PICK)
    def send(self, session: int, home: int) -> None:
        whose, where, text = chosen(self.live_sessions, session), chosen(self.well, home), self.text()
        self.run(where.worker.send_standalone(whose.stored, "notifications/message", encode(log(text))))
        whose.sent.append((where, text))

    # --- Processes and time -----------------------------------------------------------------------------------

    @precondition(lambda self: len(self.well) > 1)
    @rule(home=PICK, most=st.integers(0, 2) | st.none())
    def kill(self, home: int, most: int | None) -> None:
        where = chosen(self.well, home)
        where.is_dead = True
        listeners = [session.listener for session in self.sessions]
        for reader in [*listeners, *(reader for one in self.streams for reader in one.readers)]:
            if reader.home is where:
                reader.drop(most)
        self.add_home()

    @precondition(lambda self: len(self.well) > 1)
    @rule(home=PICK)
    def pause(self, home: int) -> None:
        chosen(self.well, home).is_paused = True

    @precondition(lambda self: any(home.is_paused for home in self.homes))
    @rule(home=PICK)
    def wake(self, home: int) -> None:
        where = chosen([home for home in self.homes if home.is_paused], home)
        where.is_paused = False
        self.heard(where)

    @precondition(lambda self: self.served and len(self.well) > 1)
    @rule(stream=PICK, home=PICK)
    def lapse(self, stream: int, home: int) -> None:
        """A process stalls for longer than a lease, and a client of one of its streams is back elsewhere meanwhile."""
        one = chosen(self.served, stream)
        one.home.is_paused = True
        reader = one.readers[0]
        reader.drop(None)
        if reader.cursor and not self.has_end(one, reader):
            self.come_back(one, reader, chosen(self.well, home))
        self.wait(5)
        reader.read()

    def heard(self, home: Home) -> None:
        home.longest_silence = max(home.longest_silence, self.clock.seconds - home.heard_at)
        home.heard_at = self.clock.seconds

    @rule(steps=st.sampled_from([1, 2, 5]))
    def wait(self, steps: int) -> None:
        for _ in range(steps):
            self.clock.seconds += STEP_SECONDS
            for home in self.well:
                self.heard(home)
                self.run(self.poll(home.worker))

    async def poll(self, worker: Worker) -> None:
        # As ``WorkerLease.run`` does, which sleeps by no clock of ours.
        if self.clock.seconds >= worker.lease._held_until - LEASE_SECONDS * 2 / 3:
            async with worker.lease._beating:
                await worker.lease._beat()
        for _ in range(3):
            worker._poller._poke.clear()
            async with asyncio.TaskGroup() as worker._poller._steps:
                worker._poller._tick()
            if not worker._poller._poke.is_set():
                return

    # --- The end of a session ---------------------------------------------------------------------------------

    @precondition(lambda self: len(self.live_sessions) > 1 and self.well)
    @rule(session=PICK, home=PICK)
    def terminate(self, session: int, home: int) -> None:
        whose = chosen(self.live_sessions, session)
        default_store().terminate(whose.stored.session_id)
        self.run(chosen(self.well, home).worker.end_session(whose.stored.session_id, whose.stored.created_at))
        cancelled = JSONRPCError(jsonrpc="2.0", id=1, error=ErrorData(code=0, message="cancelled"))
        for one in self.served:
            if one.session is whose:
                self.run(finish(one.stream, cancelled))
                one.is_finished = True
        whose.is_over = True

    # --- What must hold ---------------------------------------------------------------------------------------

    @invariant()
    def clients_have_received_nothing_wrong(self) -> None:
        for one in self.streams:
            for reader in one.readers:
                self.check(one, reader.texts, is_whole=False)
        for session in self.sessions:
            texts = session.listener.texts
            assert len(set(texts)) == len(texts), f"twice: {texts}"
            assert set(texts) <= {text for _, text in session.sent}, f"not its own: {texts}"
            for home in self.homes:
                theirs = [text for where, text in session.sent if where is home]
                assert [text for text in texts if text in theirs] == [text for text in theirs if text in texts]

    def check(self, one: Running, texts: list[Any], *, is_whole: bool) -> None:
        ends = [text for text in texts if text in ("result", "error")]
        events = texts[: len(texts) - len(ends)]
        assert events == one.texts[: len(events)], f"{texts} of {one.texts}"
        assert texts == [*events, *ends], f"something after the end: {texts}"
        assert len(ends) <= 1, f"ends: {texts}"
        if is_whole:
            assert ends, f"no end: {texts}"
        if not ends or one.session.is_over:
            return
        assert one.end in (None, ends[0]), f"another end before: {one.end}"
        one.end = ends[0]
        if one.end == "result":
            assert one.is_finished
            assert events == one.texts, f"{texts} of {one.texts}"
        else:
            # Whoever may still serve it has been silent long enough to be taken for dead.
            silence = max(one.home.longest_silence, self.clock.seconds - one.home.heard_at)
            assert silence > LEASE_SECONDS - LEASE_SECONDS / 3 - STEP_SECONDS, f"its worker is well: {silence}"
            if one.home.is_dead and one.home.longest_silence < LEASE_SECONDS / 3:
                assert events == one.texts, f"{texts} of {one.texts}"

    def teardown(self) -> None:
        """Let everything come to an end: then nothing is missing, and nothing is left."""
        try:
            if self.homes:
                self.come_to_an_end()
        finally:
            self.run(close_planes_of_this_loop())
            self.loop.close()
            for session in self.sessions:
                self.store.events.delete(session.stored.session_id)

    def come_to_an_end(self) -> None:
        for home in self.homes:
            if home.is_paused:
                home.is_paused = False
                self.heard(home)
        # Longer than a lease: those that are served still have theirs renewed.
        self.come_all_back()
        self.wait(5)
        for one in self.streams:
            # Those of a session that is over too: their workers wake up and cancel them.
            if not (one.home.is_dead or one.is_finished):
                self.run(finish(one.stream))
                one.is_finished = True
        for session in self.live_sessions:
            session.listener.read()
            self.listen(session, self.well[0])
        self.come_late()
        self.wait(5)
        self.come_all_back()
        self.wait(2)
        for reader in [*self.connected, *(session.listener for session in self.sessions)]:
            reader.read()
        self.clients_have_received_nothing_wrong()
        for one in self.streams:
            for reader in one.readers:
                if not one.session.is_over and reader.cursor:
                    self.check(one, reader.texts, is_whole=True)
        for session in self.live_sessions:
            assert {text for _, text in session.sent} - set(session.listener.texts) <= session.passed
            session.listener.drop(None)
        for reader in self.connected:
            reader.drop(None)
        self.wait(2)
        for home in self.well:
            assert leftovers(home.worker) == {}

    def come_all_back(self) -> None:
        """Every client that was cut off, or whose response was closed without an end, resumes."""
        for reader in self.connected:
            if reader.peer is not None and reader.peer.outbox.closed:
                reader.drop(None)
        for number, (one, reader) in enumerate(self.gone):
            self.come_back(one, reader, self.well[number % len(self.well)])

    def come_late(self) -> None:
        """Another client of each stream, that has seen nothing but its first cursor."""
        for number, one in enumerate(self.streams):
            started = next((reader.received[:1] for reader in one.readers if reader.received), [])
            if started and not one.session.is_over:
                one.readers.append(Reader(received=started))
                self.come_back(one, one.readers[-1], self.well[number % len(self.well)])


def chosen(among: list[Any], number: int) -> Any:
    return among[number % len(among)]


@pytest.mark.usefixtures("dynamodb")
def test_every_client_receives_its_stream_once_in_order_and_one_end(
    store: StreamStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(schema, "now_ms", clock.now_ms)
    for module in (followed, held, inbox, pace, poller, traces, watch):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock.monotonic))
    for module in (lease, watch):
        monkeypatch.setattr(module, "awake_seconds", clock.monotonic)
    Streams.clock, Streams.store = clock, store
    run_state_machine_as_test(
        Streams,
        settings=settings(
            max_examples=30,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
