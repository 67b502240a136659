"""A small stand-in for Lambda's runtime API that takes answers as they stream, which AWS's own emulator does not."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any, Final

SECONDS: Final = 60
PRELUDE_END: Final = b"\0" * 8
"""Between a streamed answer's head, which is JSON, and its body."""


class RuntimeAPI:
    """Serves one sandbox: its runtime asks for events here, and answers them here."""

    def __init__(self) -> None:
        self.events: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.answers: dict[str, queue.Queue[bytes | None]] = {}
        self.modes: dict[str, str] = {}
        self.is_idle = threading.Event()
        """Whether the runtime waits for an event: then Lambda freezes it."""
        self.function_seconds: float = SECONDS
        """What the function has for one event."""
        self._ids = count(1)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"api": self}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def invoke(self, event: Any) -> Iterator[bytes]:
        """The pieces of the answer to an event, as they come."""
        name = f"request-{next(self._ids)}"
        pieces: queue.Queue[bytes | None] = queue.Queue()
        self.answers[name] = pieces
        # The answer before this one may have ended only just now.
        if not self.is_idle.wait(SECONDS):
            raise TimeoutError("the runtime asks for no event")
        self.is_idle.clear()
        self.events.put((name, json.dumps(event).encode()))
        while (piece := pieces.get(timeout=SECONDS)) is not None:
            yield piece


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: RuntimeAPI

    def do_GET(self) -> None:
        if self.path.endswith("/extension/event/next"):
            # Until it is shut down, which here is by a signal.
            threading.Event().wait()
        self.api.is_idle.set()
        name, event = self.api.events.get()
        self.send_response(200)
        for header, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(event)),
            "Lambda-Runtime-Aws-Request-Id": name,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + self.api.function_seconds) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-west-1:123456789012:function:sessions",
            "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0",
        }.items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(event)

    def do_POST(self) -> None:
        if self.path.endswith("/extension/register"):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._done(200, b"{}", {"Lambda-Extension-Identifier": "adapter"})
            return
        name, kind = self.path.split("/")[-2:]
        pieces = self.api.answers[name]
        self.api.modes[name] = self.headers.get("Lambda-Runtime-Function-Response-Mode", kind)
        for piece in self._body():
            pieces.put(piece)
        pieces.put(None)
        self._done(202, b"{}", {})

    def _body(self) -> Iterator[bytes]:
        if "chunked" not in (self.headers.get("Transfer-Encoding") or ""):
            yield self.rfile.read(int(self.headers["Content-Length"]))
            return
        while size := int(self.rfile.readline().strip() or b"0", 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # Trailers.

    def _done(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for header, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: the site's own log is enough."""
