"""What a server's processes have used, as Linux's /proc has it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_LISTEN = "0A"
_TICK = os.sysconf("SC_CLK_TCK")


def processes(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for one in found:
        with suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found.extend(int(child) for child in (task / "children").read_text().split())
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its living descendants, in steps of a clock tick (10 ms)."""
    ticks = 0
    for one in processes(pid):
        with suppress(OSError):
            # The name before the bracket may hold spaces.
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICK


def worker(pid: int) -> int:
    """The only child of a gunicorn's master: the process that serves."""
    return processes(pid)[1]


def alive(pid: int) -> bool:
    """Whether a process runs: one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def resident_kib(pid: int) -> int:
    """Resident memory of one process."""
    return _status(pid, "VmRSS")


def threads(pid: int) -> int:
    """Threads of one process."""
    return _status(pid, "Threads")


def files(pid: int) -> int:
    """Open files of one process, sockets among them."""
    return len(list(_descriptors(pid)))


def clients(pid: int, port: int) -> int:
    """Connections that one process holds to those who came to a port, also where they have left already."""
    sockets = {target[8:-1] for target in _descriptors(pid) if target.startswith("socket:[")}
    lines = (line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:])
    # A table that changes while it is read may show a line twice.
    held = {
        line[9]
        for line in lines
        if line[9] in sockets and line[3] != _LISTEN and int(line[1].rpartition(":")[2], 16) == port
    }
    return len(held)


def _status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


def _descriptors(pid: int) -> Iterator[str]:
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            yield str(entry.readlink())
