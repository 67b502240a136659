"""Sandboxes as Lambda runs them: a process that gets one event at a time and stands still after each answer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.aws_lambda.runtime_api import PRELUDE_END, RuntimeAPI
from tests.aws_lambda.tools import adapter, emulator
from tests.conformance.processes import Children, DidNotStart, site_environment
from tests.engines import free_ports, wait_for_port
from tests.mcpsite.aws_lambda.events import Front, http_api, received
from tests.mcpsite.peers import Answer

HANDLER: Final = "mcpsite.lambda_handler.handler"
FUNCTION_URL: Final = Front("function-url", "", http_api(domain="x7yq.lambda-url.eu-west-1.on.aws"))
SERVER: Final = "mcpsite.server:mcp"


@dataclass
class Frozen:
    """A client's way to a sandbox that is frozen after each answer, and thawed for the next event."""

    process: subprocess.Popen[str]
    log: Path
    ask: Callable[[Any], dict[str, Any]]
    """The answer to an event."""
    front: Front = FUNCTION_URL
    meanwhile: Callable[[], None] = lambda: None
    """What happens while it stands still."""
    path: str = "/mcp"

    def __call__(self, method: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        event, _ = self.front.ask(method, self.path, body, headers)
        return received(self.invoke(event))

    def invoke(self, event: Any) -> dict[str, Any]:
        self.signal(signal.SIGCONT)
        result = self.ask(event)
        self.signal(signal.SIGSTOP)
        self.meanwhile()
        return result

    def signal(self, number: signal.Signals) -> None:
        """To every process of the sandbox but the stand-in for Lambda."""
        for pid in _below(self.process.pid):
            os.kill(pid, number)

    def metrics(self) -> list[dict[str, Any]]:
        """The lines in CloudWatch's embedded metric format that it has written."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith('{"_aws"')]


def _below(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [found for child in map(int, children) for found in (child, *_below(child))]


@contextmanager
def function_environment(dynamodb_url: str, directory: Path, **env: str) -> Iterator[dict[str, str]]:
    """What a function's process has, over new tables."""
    settings = site_environment(dynamodb_url, directory) | {
        "MCP_SERVER": SERVER,
        "ALLOWED_HOSTS": "*",
        "METRICS": "emf",
        "DYNAMODB_SESSIONS_TABLE": f"sessions-{directory.name}",
        "DYNAMODB_EVENTS_TABLE": f"events-{directory.name}",
        **env,
    }
    done = subprocess.run([sys.executable, "manage.py", "dynamodb_setup"], env=settings, capture_output=True, text=True)
    if done.returncode:
        raise DidNotStart(done.stderr)
    yield settings


@contextmanager
def emulated(settings: Mapping[str, str], log: Path) -> Iterator[Frozen]:
    """``awslambdaric``, the runtime of an image of one's own, in AWS's emulator."""
    children = Children()
    front, api = free_ports(2)
    command: list[str | Path] = [emulator(), "--log-level", "error", "--runtime-api-address", f"127.0.0.1:{api}"]
    command += ["--runtime-interface-emulator-address", f"127.0.0.1:{front}"]
    env = {**settings, "AWS_LAMBDA_FUNCTION_TIMEOUT": "30"}
    process = children.start([*command, sys.executable, "-m", "awslambdaric", HANDLER], env=env, log=log)
    url = f"http://127.0.0.1:{front}/2015-03-31/functions/function/invocations"

    def ask(event: Any) -> dict[str, Any]:
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(event).encode()), timeout=90) as answer:
            result: dict[str, Any] = json.load(answer)
            return result

    try:
        if not wait_for_port(front, process):
            raise DidNotStart(log.read_text())
        yield Frozen(process, log, ask)
    finally:
        # What stands still does not end.
        children.close()


@dataclass
class Adapted:
    """The Web Adapter before gunicorn, in a sandbox of its own."""

    api: RuntimeAPI
    processes: tuple[subprocess.Popen[str], ...]
    log: Path

    def stream(self, event: Any) -> Iterator[bytes]:
        """The pieces of the answer: its head as JSON, then its body as it comes."""
        pieces = self.api.invoke(event)
        head = b""
        for piece in pieces:
            head += piece
            if PRELUDE_END in head:
                break
        prelude, _, body = head.partition(PRELUDE_END)
        yield prelude
        if body:
            yield body
        yield from pieces

    def whole(self, event: Any) -> dict[str, Any]:
        """The answer that is one JSON document."""
        result: dict[str, Any] = json.loads(b"".join(self.api.invoke(event)))
        return result

    def signal(self, number: signal.Signals) -> None:
        """To every process of the sandbox."""
        for process in self.processes:
            for pid in (process.pid, *_below(process.pid)):
                os.kill(pid, number)


@contextmanager
def adapted(
    settings: Mapping[str, str], log: Path, *, streams: bool, options: tuple[str, ...] = ()
) -> Iterator[Adapted]:
    """The image's own command behind the Web Adapter, answering whole or streaming."""
    children, api = Children(), RuntimeAPI()
    (port,) = free_ports(1)
    env = {
        **settings,
        "PORT": str(port),
        "AWS_LWA_PORT": str(port),
        "AWS_LWA_READINESS_CHECK_PATH": "/healthz",
        "AWS_LWA_INVOKE_MODE": "response_stream" if streams else "buffered",
        "AWS_LAMBDA_FUNCTION_NAME": "sessions",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/sessions",
        "AWS_LAMBDA_LOG_STREAM_NAME": "sandbox",
        "AWS_LAMBDA_RUNTIME_API": api.address,
    }
    try:
        site = children.start([sys.executable, "-m", "gunicorn", "mcpsite.asgi", *options], env=env, log=log)
        before = children.start([adapter()], env=env, log=log)
        if not api.is_idle.wait(60):
            raise DidNotStart(log.read_text()[-4000:])
        yield Adapted(api, (site, before), log)
    finally:
        children.close()
        api.close()
