"""A person at a terminal: a command of ``manage.py`` as a process of its own, behind a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from select import select
from typing import Final

ROOT: Final = Path(__file__).parents[2]
SECONDS: Final = 60.0
AGAIN_SECONDS: Final = 5.0
CTRL_C: Final = "\x03"
CTRL_D: Final = "\x04"
# A session of its own with the terminal, so that Ctrl-C is a signal to the command and not to the tests.
_LOGIN: Final = "import os, sys; os.login_tty(0); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"


class Terminal:
    """What the command shows, and what is typed."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self._process = process
        self._descriptor = descriptor
        self._seen = 0
        self._last_typed = ""
        self.shown = ""

    def wait_for(self, text: str) -> None:
        """Read until the text is shown, after all that was waited for before."""
        while text not in self.shown[self._seen :]:
            if not self._read():
                raise AssertionError(f"ended before it showed {text!r}:\n{self.shown}")
        self._seen = self.shown.index(text, self._seen) + len(text)

    def type(self, text: str) -> None:
        self._last_typed = text
        os.write(self._descriptor, text.encode())

    def end(self) -> int:
        """Read to the end; the exit status."""
        while self._read():
            pass
        return self._process.wait(SECONDS)

    def _read(self) -> bool:
        deadline = time.monotonic() + SECONDS
        while not select([self._descriptor], [], [], AGAIN_SECONDS)[0]:
            if time.monotonic() > deadline:
                raise AssertionError(f"nothing was shown for {SECONDS:.0f} s:\n{self.shown}")
            if self._last_typed == CTRL_C:
                # As a person would: Python hears none between showing a prompt and waiting for its answer.
                os.write(self._descriptor, CTRL_C.encode())
        try:
            data = os.read(self._descriptor, 4096)
        except OSError:
            # Linux says EIO once the other side is closed.
            return False
        self.shown += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", data.decode()).replace("\r\n", "\n")
        return bool(data)


@contextmanager
def terminal(*command: str, env: Mapping[str, str]) -> Iterator[Terminal]:
    """Start ``manage.py`` with these arguments; what still runs at the end is killed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _LOGIN, "manage.py", *command],
        cwd=ROOT,
        env=env,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
