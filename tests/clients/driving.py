"""One client's driver, run through its steps: it writes a line of JSON for each, and asks when it wants a restart."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.clients.steps import Reading

STEP_SECONDS: Final = 75.0
PROBE_SECONDS: Final = 8.0


def drive(
    command: Sequence[str],
    url: str,
    steps: Sequence[str],
    *,
    env: Mapping[str, str],
    log: Path,
    restart: Callable[[], None],
) -> dict[str, Reading]:
    """A reading for each step. A driver that hangs or ends is started again for the steps after that one."""
    readings: dict[str, Reading] = {}
    left = [step for step in steps if step != "connect"]
    while True:
        said = _run(command, url, left, env=env, log=log, restart=restart)
        readings |= {step: reading for step, reading in said.items() if step not in readings}
        if said.get("connect", Reading(False)).ok is False:
            failed = said.get("connect", Reading(False, "no answer"))
            return {step: readings.get(step, failed) for step in ("connect", *steps)}
        left = [step for step in left if step not in readings]
        if not left:
            return readings


def _run(
    command: Sequence[str],
    url: str,
    steps: Sequence[str],
    *,
    env: Mapping[str, str],
    log: Path,
    restart: Callable[[], None],
) -> dict[str, Reading]:
    """What one run of a driver says; the step that it was at when it ended early has failed."""
    readings: dict[str, Reading] = {}
    with log.open("a") as errors:
        process = subprocess.Popen(
            [*command, url, ",".join(steps) or "connect"],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read, args=(process, lines), daemon=True).start()
    why = f"no answer for {STEP_SECONDS:.0f} s"
    try:
        while True:
            line = lines.get(timeout=STEP_SECONDS)
            if line is None:
                why = f"the driver ended: {_last_line(log)}"
                break
            said = _parsed(line)
            if said.get("ask") == "restart":
                restart()
                process.stdin.write("done\n")
                process.stdin.flush()
            elif "step" in said:
                readings[said["step"]] = _reading(url, said)
    except queue.Empty:
        pass
    except BrokenPipeError:
        why = f"the driver ended: {_last_line(log)}"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for step in ("connect", *steps):
        if step not in readings:
            readings[step] = Reading(False, why)
            break
    return readings


def _read(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def _parsed(line: str) -> dict[str, Any]:
    """A driver's line; what a library prints besides is none of ours."""
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _reading(url: str, said: Mapping[str, Any]) -> Reading:
    reading = Reading(said["ok"], str(said.get("detail") or ""))
    session = said.get("session")
    if said["step"] == "delete" and reading.ok and not is_ended(url, str(session)):
        return Reading(False, "the client sent no DELETE: its session is still there")
    return reading


def is_ended(url: str, session: str) -> bool:
    """Whether a session is gone from the server within ``PROBE_SECONDS``."""
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "Mcp-Session-Id": session,
        "MCP-Protocol-Version": "2025-06-18",
    }
    deadline = time.monotonic() + PROBE_SECONDS
    while time.monotonic() < deadline:
        body = json.dumps({"jsonrpc": "2.0", "id": "probe", "method": "ping"}).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=5):
                pass
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return True
        time.sleep(0.25)
    return False


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it wrote nothing"
