"""Open GET streams, held by processes of their own: ``Holders`` opens them, ends them, and hears when they end.

``python -m benchmarks.holder URL NUMBER SOURCE`` opens so many from one address, and tells when all are open. It holds
them until it reads ``abort``, or until the server has ended the last: then it tells when that was.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import time
from contextlib import suppress
from typing import Final

from benchmarks.callers import Caller
from tests.conformance.processes import ROOT, base_environment

PROCESSES: Final = 4
OPENING: Final = 16
"""Sessions that one process begins at a time."""


def raise_open_files() -> int:
    """Take the hard limit of open files, for this process and those that it starts; returns it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Holders:
    """Streams of one server, from several processes and loopback addresses."""

    def __init__(self, url: str, streams: int) -> None:
        shares = [streams // PROCESSES + (number < streams % PROCESSES) for number in range(PROCESSES)]
        self._processes = [
            subprocess.Popen(  # noqa: S603 (our own)
                [sys.executable, "-m", "benchmarks.holder", url, str(share), f"127.0.0.{number + 2}"],
                cwd=ROOT,
                env=base_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number, share in enumerate(shares)
            if share
        ]

    def wait_until_open(self) -> None:
        """Raises ``RuntimeError`` if a stream could not be opened; standard error says why."""
        for process in self._processes:
            self._line(process)

    def abort(self) -> None:
        """End every stream by RST."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write("abort\n")
            process.stdin.flush()
        for process in self._processes:
            process.wait()

    def ended(self) -> float:
        """When the server had ended the last stream, by the monotonic clock; waits for it."""
        return max(float(self._line(process)) for process in self._processes)

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def _line(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("a stream could not be opened, or broke")
        return line


async def _hold(url: str, number: int, source: str) -> None:
    limit = asyncio.Semaphore(OPENING)

    async def opened() -> tuple[Caller, asyncio.StreamReader]:
        async with limit:
            caller = await Caller(url, source).begin()
            await caller.stream()
            return caller, (await caller.connection.open())[0]

    streams = await asyncio.gather(*(opened() for _ in range(number)))
    print(json.dumps("open"), flush=True)
    asked = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
    ends = asyncio.gather(*(_drained(reader) for _, reader in streams))
    await asyncio.wait({asked, ends}, return_when=asyncio.FIRST_COMPLETED)
    if ends.done():
        print(json.dumps(max(ends.result())), flush=True)
        return
    ends.cancel()
    with suppress(asyncio.CancelledError):
        await ends
    for caller, _ in streams:
        caller.connection.abort()


async def _drained(reader: asyncio.StreamReader) -> float:
    with suppress(OSError):
        while await reader.read(65536):
            pass
    return time.monotonic()


def main() -> None:
    url, number, source = sys.argv[1:]
    raise_open_files()
    asyncio.run(_hold(url, int(number), source))


if __name__ == "__main__":
    main()
