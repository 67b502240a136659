"""Clients and the processes that they belong to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FORKED = """
import os, django
django.setup()
from sessions_dynamo import client
before = client.dynamodb()
child = os.fork()
if child == 0:
    os._exit(client.dynamodb() is before)
assert os.waitpid(child, 0)[1] == 0
assert client.dynamodb() is before
"""


def test_a_process_that_is_forked_has_clients_of_its_own() -> None:
    """The connections of its parent's are open in both: answers would reach either."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", FORKED], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
