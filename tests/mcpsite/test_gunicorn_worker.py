"""How a worker parts from clients."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from mcpsite.gunicorn_worker import Worker


class Connection:
    """A connection whose client keeps its end open until it is told to go."""

    def __init__(self) -> None:
        self.client_leaves = threading.Event()
        self.closed_by: int | None = None
        self.closed = threading.Event()

    def close(self, graceful: bool = False) -> None:
        assert graceful
        assert self.client_leaves.wait(30)
        self.closed_by = threading.get_ident()
        self.closed.set()


@pytest.fixture
def worker() -> Worker:
    worker = Worker.__new__(Worker)
    worker.nr_conns = 1
    worker._closing = ThreadPoolExecutor(1)
    return worker


def _finished(result: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(result)
    return future


def test_a_client_that_keeps_its_end_open_is_waited_for_on_another_thread(worker: Worker) -> None:
    connection = Connection()
    # On one thread this would never return: the client leaves only afterwards.
    worker.finish_request(connection, _finished(False))
    assert worker.nr_conns == 0
    connection.client_leaves.set()
    assert connection.closed.wait(30)
    assert connection.closed_by != threading.get_ident()
