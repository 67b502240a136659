"""gunicorn's worker class: ``--worker-class sessions_dynamo.asgi_server.worker.Worker``."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any, Final

from gunicorn.workers.base import Worker as BaseWorker

from sessions_dynamo.asgi_server.forwarded import Proxies
from sessions_dynamo.asgi_server.limits import Limits, raise_open_files
from sessions_dynamo.asgi_server.server import Config, Server, run

BEAT_SECONDS: Final = 1.0
EXIT_SECONDS: Final = 0.5
"""For threads that still run something when all else is over, such as a synchronous view; then they are left."""
TLS_OPTIONS: Final = ("ssl_keyfile", "ssl_certfile", "ssl_version", "ssl_cert_reqs", "ssl_ca_certs", "ssl_ciphers")
"""uvicorn's names; gunicorn has each with or without the prefix."""


class Worker(BaseWorker):
    """One process that serves ASGI on a loop of its main thread.

    A thread tells the arbiter that it lives, until it is gone: neither a handler that blocks the loop nor requests that
    take their time when it stops are a reason to kill everybody's streams.
    """

    server: Server | None = None

    def init_process(self) -> None:
        """In the new process."""
        for name, log in (
            ("uvicorn.error", self.log.error_log),
            ("sessions_dynamo.asgi_server", self.log.error_log),
            ("uvicorn.access", self.log.access_log),
        ):
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = log.handlers, False
            logger.setLevel(log.level)
        # uvicorn's own steps, such as "Shutting down", are said by gunicorn already.
        logging.getLogger("uvicorn.error").setLevel(max(self.log.error_log.level, logging.WARNING))
        # Before the application is loaded: how many streams it takes may depend on it.
        raise_open_files()
        super().init_process()

    def init_signals(self) -> None:
        """Handlers that stay to the process's end: the arbiter may send a signal twice."""
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, self.handle_exit)
        signal.signal(signal.SIGINT, self.handle_quit)
        signal.signal(signal.SIGQUIT, self.handle_quit)
        signal.signal(signal.SIGUSR1, self.handle_usr1)
        signal.signal(signal.SIGABRT, self.handle_abort)
        # A terminal that is resized means nobody here.
        signal.signal(signal.SIGWINCH, signal.SIG_IGN)
        signal.siginterrupt(signal.SIGUSR1, False)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; requests under way may end."""
        self.alive = False
        if self.server is not None:
            self.server.stop()

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """Stop without waiting for requests under way."""
        self.alive = False
        self.cfg.worker_int(self)
        if self.server is None:
            sys.exit(0)
        self.server.stop(quick=True)

    def run(self) -> None:
        """Serve until told to stop. Raises ``SystemExit`` if the application does not start."""
        cfg: Any = self.cfg
        config = Config(
            self.wsgi,
            lifespan="on",
            backlog=cfg.backlog,
            timeout_keep_alive=cfg.keepalive,
            limit_max_requests=self.max_requests,
            **_tls(cfg),
        )
        self.server = Server(
            config,
            limits=Limits.of_settings(),
            proxies=Proxies(cfg.forwarded_allow_ips),
            graceful_seconds=cfg.graceful_timeout,
        )
        if not self.alive:
            return
        threading.Thread(target=self._beat, name="heart-beat", daemon=True).start()
        # Called when the interpreter begins to wait for threads, after everything that gunicorn does.
        threading._register_atexit(_wait_no_longer)  # type: ignore[attr-defined]
        run(self.server, self.sockets)

    def _beat(self) -> None:
        assert self.server is not None
        while True:
            try:
                self.notify()
            except (ValueError, OSError):
                # The arbiter's file is closed: the process is at its end.
                return
            # The first: gunicorn's reloader saw an edit; the other: the arbiter is gone.
            if not self.alive or self.ppid != os.getppid():
                self.server.stop()
            time.sleep(BEAT_SECONDS)


def _wait_no_longer() -> None:
    leave = threading.Timer(EXIT_SECONDS, _leave)
    leave.daemon = True
    leave.start()


def _leave() -> None:
    """End the process. The exit handlers would only run after the last thread."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _tls(cfg: Any) -> dict[str, Any]:
    given = cfg.ssl_options if cfg.is_ssl else {}
    named = {f"ssl_{name.removeprefix('ssl_')}": value for name, value in given.items()}
    return {name: named[name] for name in TLS_OPTIONS if named.get(name) is not None}
