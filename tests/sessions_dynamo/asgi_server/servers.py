"""The real gunicorn with the real worker class, around the small application, and clients that send what they like."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.engines import free_port

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 30.0
GRACEFUL_SECONDS = 12


@dataclass
class Gunicorn:
    """A gunicorn on a port, and what it and the application wrote."""

    port: int
    log_file: Path
    process: subprocess.Popen[bytes]
    clients: ExitStack = field(default_factory=ExitStack)

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def said(self, text: str, times: int = 1) -> None:
        """Wait until the log has a text so often."""
        wait_for(
            lambda: self.log.count(text) >= times or self.process.poll() is not None,
            lambda: f"{text!r} is not in the log:\n{self.log}",
        )
        assert self.log.count(text) >= times, self.log

    def worker(self) -> int:
        """The process id of the newest worker."""
        return int(re.findall(r"(\d+) started", self.log)[-1])

    def connect(self) -> Client:
        return self.clients.enter_context(Client(self.port))

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of a request on a connection of its own."""
        with Client(self.port) as client:
            return client.get(path)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ends(self) -> float:
        """Seconds until the process has ended."""
        begun = time.monotonic()
        self.process.wait(SECONDS)
        return time.monotonic() - begun


class Client:
    """One connection that sends bytes as they are."""

    def __init__(self, port: int, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(SECONDS)
        self.socket.connect(("127.0.0.1", port))
        self._came = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def request(self, path: str, *headers: str, method: str = "GET", body: bytes = b"") -> None:
        lines = [f"{method} /{path} HTTP/1.1", "Host: test", *headers]
        if method != "GET" and not any(header.startswith(("Content-Length", "Transfer-")) for header in headers):
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode() + body)

    def read_until(self, end: bytes) -> bytes:
        """What came up to and with ``end``. Raises ``EOFError`` with what came if the server closed before."""
        while end not in self._came:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError(self._came)
            self._came += data
        found, self._came = self._came[: self._came.index(end) + len(end)], self._came.partition(end)[2]
        return found

    def response(self) -> tuple[int, bytes, bytes]:
        """Status, head and body of an answer with a Content-Length."""
        head = self.read_until(b"\r\n\r\n")
        length = int(re.findall(rb"content-length: (\d+)", head)[0])
        while len(self._came) < length:
            self._came += self.socket.recv(65536)
        body, self._came = self._came[:length], self._came[length:]
        return int(head.split()[1]), head, body

    def get(self, path: str) -> tuple[int, bytes]:
        self.request(path)
        status, _, body = self.response()
        return status, body

    def open_stream(self) -> Client:
        self.request("stream")
        self.read_until(b": open\n\n")
        return self

    def rest(self) -> bytes:
        """What comes until the server closes, with or without a reset."""
        with suppress(ConnectionError):
            while data := self.socket.recv(65536):
                self._came += data
        rest, self._came = self._came, b""
        return rest


def wait_for(holds: Callable[[], bool], otherwise: Callable[[], str] = lambda: "it never held") -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.05)


@contextmanager
def gunicorn(directory: Path, *options: str, files: int | None = None, **environment: str) -> Iterator[Gunicorn]:
    """Start it and wait for its first worker; ``files`` is its limit of open files."""
    port = free_port()
    log = directory / "gunicorn.log"
    folder = "tests/sessions_dynamo/asgi_server"
    command = [
        *(sys.executable, "-m", "gunicorn", "tests.sessions_dynamo.asgi_server.application:application"),
        *("--config", f"{folder}/gunicorn_conf.py", "--bind", f"127.0.0.1:{port}", *options),
    ]

    def limit() -> None:
        if files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files // 2, files))

    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=limit,
        )
    server = Gunicorn(port, log, process)
    try:
        with server.clients:
            server.said("started")
            yield server
    finally:
        # A worker may have outlived its arbiter.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
