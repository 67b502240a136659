"""Sessions that staff end, from a process that serves none of their streams."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from anyio import to_thread

from sessions_dynamo.staff.sessions import endings
from sessions_dynamo.store.session_items import Session
from tests.mcpsite.endpoint.streams.support import Peer, finish, leftovers, log, new_session, owned, until, workers


@pytest.mark.parametrize("end", [endings.terminate, endings.delete])
async def test_what_an_ended_session_has_open_closes_on_every_worker(
    session: Session, end: Callable[[str], bool]
) -> None:
    async with workers(2) as both:
        stream, client = owned(both[0], session)
        await stream.emit(log(1))
        follower, standalone = Peer(), Peer()
        await both[1].resume(session, client.cursor, follower.outbox)
        await both[1].hold(session, standalone.outbox)
        other, stranger = new_session(), Peer()
        await both[0].hold(other, stranger.outbox)

        assert await to_thread.run_sync(end, session.session_id)
        await until(lambda: follower.has_ended and standalone.has_ended)
        await finish(stream)
        assert not stranger.has_ended
        await until(lambda: leftovers(both[1]) == {})
