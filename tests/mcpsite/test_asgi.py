"""What is imported before a server forks belongs to no process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEFT = """
import asyncio, gc, socket, threading
import mcpsite.asgi
assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
held = [one for one in gc.get_objects() if isinstance(one, (asyncio.AbstractEventLoop, asyncio.Task, socket.socket))]
assert not held, held
"""


def test_importing_the_site_begins_no_loop_thread_or_connection() -> None:
    """gunicorn's ``preload_app`` imports it once for all workers; a loop that is made then works in none of them."""
    environment = {**os.environ, "DEBUG": "true", "DYNAMODB_EMBEDDED": "false", "PYTHONPATH": str(ROOT)}
    environment["DJANGO_SETTINGS_MODULE"] = "mcpsite.settings"
    done = subprocess.run([sys.executable, "-c", LEFT], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
