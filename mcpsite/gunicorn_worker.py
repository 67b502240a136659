"""gunicorn's ``gthread`` worker, but for how it parts from a client."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from gunicorn.workers.gthread import ThreadWorker

CLOSING_THREADS: Final = 8


class Worker(ThreadWorker):
    """Closes connections on threads of their own.

    A graceful close waits up to 2 s for the client to close too. ``gthread`` waits on the one thread that accepts
    connections and tells the arbiter that the worker is alive, so a few clients that say ``Connection: close`` and
    keep their end open would stop everybody's.
    """

    def init_process(self) -> None:
        self._closing = ThreadPoolExecutor(CLOSING_THREADS, thread_name_prefix="closing")
        super().init_process()

    def finish_request(self, conn: Any, fs: Future[Any]) -> None:
        """After a request: keep the connection, or part from it."""
        ended = not fs.cancelled() and fs.exception() is None and not fs.result()
        if not ended:
            super().finish_request(conn, fs)
            return
        self.nr_conns -= 1
        self._closing.submit(conn.close, graceful=True)
