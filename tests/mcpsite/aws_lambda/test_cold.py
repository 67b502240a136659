"""Each event in a process of its own: a session goes on from one cold start to the next."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.aws_lambda.sandboxes import function_environment
from tests.mcpsite.aws_lambda.events import Front, http_api, received, rest
from tests.mcpsite.peers import Answer, LegacyPeer, ModernPeer

PROCESS: Final = """
import json, sys
from types import SimpleNamespace
from mcpsite.lambda_handler import handler
context = SimpleNamespace(function_name="s", aws_request_id="r", memory_limit_in_mb="512",
                          get_remaining_time_in_millis=lambda: 30_000)
result = handler(json.load(sys.stdin), context)
sys.stderr.flush()
print("RESULT" + json.dumps(result), flush=True)
import os, signal
os.kill(os.getpid(), signal.SIGKILL)
"""


class Cold:
    """A client's way to a function whose every process is killed after its first answer."""

    def __init__(self, front: Front, settings: Mapping[str, str]) -> None:
        self._front, self._settings = front, settings
        self.starts = 0

    def __call__(self, method: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        event, _ = self._front.ask(method, "/mcp", body, headers)
        env = {**self._settings, "AWS_LAMBDA_FUNCTION_NAME": "sessions", "PYTHONPATH": os.fspath(Path.cwd())}
        command = [sys.executable, "-c", PROCESS]
        done = subprocess.run(command, input=json.dumps(event), env=env, capture_output=True, text=True, timeout=90)
        self.starts += 1
        assert "RESULT" in done.stdout, done.stderr
        return received(json.loads(done.stdout.partition("RESULT")[2]))


@pytest.mark.parametrize("front", [Front("rest", "/prod", rest("prod"))], ids=str)
def test_with_a_session(front: Front, engine: tuple[str, str], tmp_path: Path) -> None:
    with function_environment(engine[1], tmp_path) as settings:
        cold = Cold(front, settings)
        peer = LegacyPeer(cold).connect()
        assert peer.call("store_app_state", key="colour", data="blue").data["stored"] is True
        assert peer.call("get_app_state", key="colour").data["data"] == "blue"
        assert cold.starts == 4


@pytest.mark.parametrize("front", [Front("http-api-stage", "/prod", http_api("prod"))], ids=str)
def test_without_sessions(front: Front, engine: tuple[str, str], tmp_path: Path) -> None:
    with function_environment(engine[1], tmp_path) as settings:
        peer = ModernPeer(Cold(front, settings))
        assert peer.call("store_app_state", key="colour", data="blue").data["stored"] is True
        assert peer.call("get_app_state", key="colour").data["data"] == "blue"
