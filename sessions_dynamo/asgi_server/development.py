"""The server behind ``manage.py runserver``: on a thread beside Django's autoreloader, or alone with ``--noreload``."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Any, ClassVar, Final

from sessions_dynamo.asgi_server.forwarded import Proxies
from sessions_dynamo.asgi_server.limits import Limits, raise_open_files
from sessions_dynamo.asgi_server.server import Config, Server, run

GRACEFUL_SECONDS: Final = 1.0
"""Whoever has edited a file waits for it."""
EXIT_SECONDS: Final = 0.5
"""For threads that still run something, such as a synchronous view; then they are left."""
KEEP_ALIVE_SECONDS: Final = 5


class DevelopmentServer:
    """Has the face of Django's ``WSGIServer``, as ``basehttp.run`` uses it; what it is given is an ASGI application."""

    latest: ClassVar[DevelopmentServer | None] = None
    """What this process serves, or has served."""

    def __init__(self, address: tuple[str, int], handler_class: object = None, ipv6: bool = False) -> None:
        """Bind. Raises ``OSError``."""
        self.socket = socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(address)
        self.server_port: int = self.socket.getsockname()[1]
        self._ended = threading.Event()

    def set_app(self, application: Any) -> None:
        """What to serve."""
        raise_open_files()
        config = Config(application, lifespan="auto", timeout_keep_alive=KEEP_ALIVE_SECONDS)
        self._server = Server(
            config, limits=Limits.of_settings(), proxies=Proxies(""), graceful_seconds=GRACEFUL_SECONDS
        )

    def serve_forever(self) -> None:
        """Serve until the process is told to end. Raises ``KeyboardInterrupt`` or ``SystemExit`` on the main thread."""
        _log_requests()
        # Of this class: Django makes another one of it, with threads.
        DevelopmentServer.latest = self
        on_main_thread = threading.current_thread() is threading.main_thread()
        with self._signals() if on_main_thread else nullcontext():
            try:
                run(self._server, [self.socket])
            finally:
                self._ended.set()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Stop in order at a signal, then do what the signal does."""
        came: list[int] = []

        def stop(number: int, frame: FrameType | None) -> None:
            self._server.stop(quick=bool(came))
            came.append(number)

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if signal.SIGTERM in came:
            sys.exit(0)
        if came:
            raise KeyboardInterrupt

    @staticmethod
    def end(code: object = 0) -> None:
        """On the main thread, as the process ends with ``code``: tell open streams, and let nothing hold it up.

        The server's thread is a daemon, which would end in the middle of whatever it does.
        """
        server = DevelopmentServer.latest
        if server is None:
            return
        server._server.stop()
        server._ended.wait(GRACEFUL_SECONDS)
        leave = threading.Timer(EXIT_SECONDS, _leave, [code if isinstance(code, int) else 1])
        leave.daemon = True
        leave.start()
        # The interpreter's last collection would take apart all that was ever imported.
        gc.freeze()


def _leave(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class _RequestLines(logging.Handler):
    """uvicorn's lines, where Django's own server writes: the logger ``django.server``, at its levels."""

    def emit(self, record: logging.LogRecord) -> None:
        assert isinstance(record.args, tuple)
        _, method, path, version, status = record.args
        assert isinstance(status, int)
        level = logging.ERROR if status >= 500 else logging.WARNING if status >= 400 else logging.INFO
        line = f"{method} {path} HTTP/{version}"
        logging.getLogger("django.server").log(level, '"%s" %s', line, status, extra={"status_code": status})


def _log_requests() -> None:
    logger = logging.getLogger("uvicorn.access")
    logger.handlers, logger.propagate = [_RequestLines()], False
    logger.setLevel(logging.INFO)
    # What uvicorn says of its own steps, runserver has said.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
