"""A server of the bare environment, from its start to its end."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.engines import free_port
from tests.release.conftest import outside

START_SECONDS = 60


@contextmanager
def serving(command: Sequence[str | Path], directory: Path, **environment: str) -> Iterator[str]:
    """The URL of a server that listens on the port at the end of the command, ``{port}``."""
    port = free_port()
    log = directory / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(part).format(port=port) for part in command],
            cwd=directory,
            env=outside() | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _listens(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
