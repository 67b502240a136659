"""The author's code, imported or called: whatever it raises is one error that names the place in the author's file."""

from __future__ import annotations

import importlib
import logging
import sys
import sysconfig
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")

USUAL_NAMES: Final = ("mcp", "server", "app")
"""What the SDK's own ``mcp run`` looks for in a file, in this order."""

FORMS: Final = (
    "Set MCP_SERVER to package.module:attribute or path/to/file.py:attribute, such as mcpsite.server:mcp. The attribute"
    " is an MCPServer, a low-level Server, FastMCP's server object, or a function without required arguments that"
    f" returns one; left out, it is {', '.join(USUAL_NAMES[:-1])} or {USUAL_NAMES[-1]}."
)

SLOW_SECONDS: Final = 10.0
"""After so long somebody who waits for the site is told what it waits for."""

_STANDARD_LIBRARY: Final = sysconfig.get_path("stdlib")
_IMPORTING: Final = (__file__, str(Path(__file__).with_name("loading.py")), importlib.__file__)


class CannotServe(Exception):
    """There is no server object where ``MCP_SERVER`` points; the text says what was found, ``hint`` what to set.

    ``files`` are those in which an edit may mend it.
    """

    def __init__(self, problem: str, hint: str = FORMS, files: tuple[str, ...] = ()) -> None:
        super().__init__(problem)
        self.hint = hint
        self.files = files


def run_authored(code: Callable[[], T], doing: str) -> T:
    """The result of the author's code. Raises ``CannotServe`` for whatever that raises."""
    slow = threading.Timer(SLOW_SECONDS, _say_slow, [doing, threading.get_ident()])
    slow.daemon = True
    slow.start()
    try:
        return code()
    except (Exception, SystemExit) as exc:
        raise CannotServe(f"{doing} raised {_cause(exc)}", hint=_advice(exc), files=tuple(_files(exc))) from exc
    finally:
        slow.cancel()
        slow.join()


def _say_slow(doing: str, thread: int) -> None:
    """Where the author's code stands: a server that it runs itself never ends."""
    stack = traceback.extract_stack(sys._current_frames()[thread])
    ours = max((place for place, frame in enumerate(stack) if frame.filename in _IMPORTING), default=-1)
    own = [frame for frame in stack[ours + 1 :] if not _is_library(frame.filename)]
    place = f"; it is at {own[-1].filename}, line {own[-1].lineno}: {own[-1].line}" if own else ""
    logger.warning(
        "%s has taken %g s, and the site waits for it%s. What runs a server, such as mcp.run(), belongs under"
        " if __name__ == '__main__'.",
        *(doing, SLOW_SECONDS, place),
    )


def _cause(exc: BaseException) -> str:
    text = str(exc) if not isinstance(exc, SyntaxError) else exc.msg
    said = f"{type(exc).__name__}: {text}" if text else type(exc).__name__
    if isinstance(exc, SyntaxError) and exc.filename:
        return f"{said} ({exc.filename}, line {exc.lineno}: {(exc.text or '').strip()})"
    frames = _frames(exc)
    if not frames:
        return said
    own = [frame for frame in frames if not _is_library(frame.filename)]
    place = own[-1] if own else frames[-1]
    return f"{said} ({place.filename}, line {place.lineno}, in {place.name}: {place.line})"


def _advice(exc: BaseException) -> str:
    if isinstance(exc, SystemExit):
        return "Let the file only define the server: what runs one belongs under if __name__ == '__main__'."
    if isinstance(exc, ModuleNotFoundError):
        return (
            f"{FORMS} A module is found from the directory that the process starts in, or by PYTHONPATH; what it"
            " imports must be installed."
        )
    return "Mend that line, or what it asks for; or let MCP_SERVER name something else."


def _frames(exc: BaseException) -> list[traceback.FrameSummary]:
    """Where it passed, from the first of the author's frames on."""
    frames = traceback.extract_tb(exc.__traceback__)
    return [frame for frame in frames if frame.filename not in _IMPORTING and not frame.filename.startswith("<frozen ")]


def _is_library(filename: str) -> bool:
    is_installed = not {"site-packages", "dist-packages"}.isdisjoint(Path(filename).parts)
    return is_installed or filename.startswith(("<", _STANDARD_LIBRARY))


def _files(exc: BaseException) -> Iterator[str]:
    if isinstance(exc, SyntaxError) and exc.filename:
        yield exc.filename
    yield from dict.fromkeys(frame.filename for frame in _frames(exc) if not _is_library(frame.filename))
