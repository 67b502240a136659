"""A TCP relay before DynamoDB that counts the requests that pass through it, by operation."""

from __future__ import annotations

import re
import socket
import threading
from collections import Counter
from contextlib import suppress
from urllib.parse import urlsplit

_TARGET = re.compile(rb"X-Amz-Target: DynamoDB_\d+\.(\w+)", re.IGNORECASE)
_LONGEST_HEADER = 80


class CountingRelay:
    """Listens on a free loopback port; ``operations`` counts what was asked of the engine behind it."""

    def __init__(self, engine_url: str) -> None:
        target = urlsplit(engine_url)
        assert target.hostname is not None
        assert target.port is not None
        self._engine = target.hostname, target.port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.operations: Counter[str] = Counter()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def total(self) -> int:
        return sum(self.operations.values())

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                engine = socket.create_connection(self._engine)
                threading.Thread(target=self._relay, args=(client, engine, True), daemon=True).start()
                threading.Thread(target=self._relay, args=(engine, client, False), daemon=True).start()

    def _relay(self, source: socket.socket, target: socket.socket, count: bool) -> None:
        tail = b""
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
                if count:
                    # A header may be cut by the end of a read; what was counted is not looked at again.
                    seen = tail + data
                    end = 0
                    for match in _TARGET.finditer(seen):
                        self.operations[match[1].decode()] += 1
                        end = match.end()
                    tail = seen[max(end, len(seen) - _LONGEST_HEADER) :]
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)
