"""SnapStart: what is in the image that many processes begin from, and what each makes its own."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import snapshot_restore_py

from mcpsite.aws_lambda import snapshot
from mcpsite.endpoint.loop import current_loop
from sessions_dynamo import client
from sessions_dynamo.dataplane import loops
from tests.mcpsite.aws_lambda.conftest import Handler
from tests.mcpsite.aws_lambda.events import Front, http_api
from tests.mcpsite.peers import LegacyPeer, Send

pytestmark = pytest.mark.usefixtures("dynamodb")


def _hooks(kind: str) -> list[Callable[[], Any]]:
    registered = getattr(snapshot_restore_py, f"get_{kind}")()
    return [hook for hook, _, _ in registered if hook.__module__ == snapshot.__name__]


def test_lambda_finds_the_hooks(handler: Handler) -> None:
    assert len(_hooks("before_snapshot")) == 1
    assert _hooks("after_restore") == [snapshot.after]


def test_the_image_holds_nothing_of_one_process(handler: Any, behind: Callable[[Front], Send]) -> None:
    peer = LegacyPeer(behind(Front("http-api", "", http_api()))).connect()
    peer.call("store_app_state", key="colour", data="blue")
    loop: asyncio.AbstractEventLoop = handler._loop
    worker = loop.run_until_complete(current_loop()).worker.worker_id
    made = client.dynamodb()

    for hook in _hooks("before_snapshot"):
        hook()
    # No connection, no task, no client with credentials: the loop is as it was made.
    assert loop not in loops._planes
    assert asyncio.all_tasks(loop) == set()
    assert client.aws_client.cache_info().currsize == 0
    assert client.dynamodb() is not made

    state = random.getstate()
    for hook in _hooks("after_restore"):
        hook()
    assert random.getstate() != state
    # The session goes on, served by a worker of another name.
    assert peer.call("get_app_state", key="colour").data["data"] == "blue"
    assert loop.run_until_complete(current_loop()).worker.worker_id != worker


def test_the_database_is_let_go(handler: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    pooled = SimpleNamespace(close=lambda: done.append("closed"), close_pool=lambda: done.append("pool closed"))
    single = SimpleNamespace(close=lambda: done.append("closed"))
    monkeypatch.setattr(snapshot, "connections", SimpleNamespace(all=lambda *, initialized_only: [pooled, single]))
    snapshot.before(handler)
    assert done == ["closed", "pool closed", "closed"]


def test_two_processes_of_one_image_draw_differently() -> None:
    state = random.getstate()
    drawn = []
    for _ in range(2):
        random.setstate(state)
        snapshot.after()
        drawn.append(random.random())
    assert drawn[0] != drawn[1]


def test_where_the_runtime_has_no_snapshots(handler: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", None)
    assert snapshot.register(handler) is False
