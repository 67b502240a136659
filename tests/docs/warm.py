"""``python manage.py …`` for many commands in a row: each is a fork of a process that has imported the libraries.

A command imports for a second, and works for a tenth of one. This file is that process, when it is run; the pages'
commands reach it by a ``python`` that stands first on their PATH, with their words, directory, environment and files.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NoReturn

LIBRARIES: Final = (
    *("boto3", "botocore.httpsession", "django.contrib.admin", "django.core.management", "mcp.server.mcpserver"),
    *("pydantic", "starlette.requests", "uvicorn", "whitenoise.storage"),
)
"""Of other people's, and nothing that reads the settings when it is imported."""

CLIENT: Final = """\
#!{python} -IS
import json, os, socket, sys
if sys.argv[1:2] != ["manage.py"]:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
asked = json.dumps({{"words": sys.argv[1:], "directory": os.getcwd(), "environment": dict(os.environ)}}).encode()
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect({address!r})
    socket.send_fds(connection, [len(asked).to_bytes(4)], [0, 1, 2])
    connection.sendall(asked)
    status = connection.recv(1)
sys.exit(status[0] if status else 1)
"""


@contextmanager
def warm_python(directory: Path) -> Iterator[Path]:
    """A directory with such a ``python``, as long as this lasts."""
    address = str(directory / "socket")
    client = directory / "python"
    client.write_text(CLIENT.format(python=sys.executable, address=address))
    client.chmod(0o755)
    server = subprocess.Popen([sys.executable, __file__, address])
    try:
        while not Path(address).exists():
            assert server.poll() is None, "the process for the commands has ended"
            time.sleep(0.05)
        yield directory
    finally:
        server.terminate()
        server.wait()


def serve(address: str) -> None:
    """Fork for each connection."""
    for name in LIBRARIES:
        importlib.import_module(name)
    # Nobody waits for a fork: its status goes over its connection.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _run(connection)
            connection.close()


def _run(connection: socket.socket) -> NoReturn:
    """Be the command that was asked for."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, files, _, _ = socket.recv_fds(connection, 4, 3)
    asked = json.loads(connection.recv(int.from_bytes(size), socket.MSG_WAITALL))
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(asked["directory"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv, sys.path[0] = asked["words"], asked["directory"]
    status = _status_of(asked["words"][0])
    with suppress(OSError):
        connection.send(bytes([status]))
    os._exit(status)


def _status_of(script: str) -> int:
    """Run a script to its end, with what it leaves for the end; its exit status."""
    status: Any = 0
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        status = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    if isinstance(status, str):
        print(status, file=sys.stderr)
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return int(status or 0)


if __name__ == "__main__":
    serve(sys.argv[1])
