"""What ``sam build`` makes of the function: built by its Makefile, with a package of somebody's, and started alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.deploy.templates import DEPLOY, load, resolved
from tests.engines import on_moto

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from pytest_django import Settings

MAX_BYTES = 250 * 1024 * 1024
"""Of a function's code, unpacked: an AWS quota."""
SECRET = "a-secret-of-sixty-four-characters-as-secrets-manager-generates-them"

SERVER = '''
import humanize
from mcp.server import MCPServer

mcp = MCPServer("theirs")


@mcp.tool()
def count(number: int) -> str:
    """A number in words."""
    return humanize.intcomma(number)
'''
SCRIPT = """
import json, sys
from mcpsite.lambda_handler import handler
for line in sys.stdin:
    answer = handler(json.loads(line), None)
    print("ANSWER", json.dumps(answer), flush=True)
"""


def interpreter(version: str) -> str | None:
    """A Python of this version, if the machine has one."""
    places = [f"python{version}", *map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))]
    for place in filter(None, map(shutil.which, places)):
        if subprocess.run([place, "--version"], capture_output=True).returncode == 0:
            return place
    return None


@pytest.fixture(scope="session")
def template() -> dict[str, Any]:
    return load("sam/template.yaml")


@pytest.fixture(scope="session")
def python(template: dict[str, Any]) -> tuple[str, str]:
    """The function's version and an interpreter of it; where there is none, the tests' own."""
    runtime = template["Resources"]["Function"]["Properties"]["Runtime"].removeprefix("python")
    if found := interpreter(runtime):
        return runtime, found
    return f"{sys.version_info.major}.{sys.version_info.minor}", sys.executable


@pytest.fixture(scope="session")
def artifacts(python: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The function's code, by the target that ``sam build`` calls."""
    app, made = tmp_path_factory.mktemp("app"), tmp_path_factory.mktemp("artifacts")
    (app / "theirs").mkdir()
    (app / "theirs" / "server.py").write_text(SERVER)
    (app / "requirements.txt").write_text("humanize==4.15.0\n")
    variables = {"APP": str(app), "PYTHON": sys.executable, "LAMBDA_PYTHON": python[0]}

    ended = subprocess.run(
        ["make", "--makefile", str(DEPLOY / "sam" / "Makefile"), "build-Function"],
        cwd=tmp_path_factory.mktemp("scratch"),
        env=os.environ | variables | {"ARTIFACTS_DIR": str(made)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return made


def environment(template: dict[str, Any], **parameters: str) -> dict[str, str]:
    """The function's, as CloudFormation resolves it, with these parameters."""
    variables = template["Resources"]["Function"]["Properties"]["Environment"]["Variables"]
    found: dict[str, str] = resolved(variables, template, parameters)
    assert found["SECRET_KEY"].startswith("{{resolve:secretsmanager:")
    return found | {"SECRET_KEY": SECRET}


def start(
    artifacts: Path, python: str, variables: dict[str, str], events: list[dict[str, Any]]
) -> subprocess.CompletedProcess[str]:
    """The handler in an environment that has what Lambda gives, and in which nothing is installed."""
    of_lambda = {
        "AWS_LAMBDA_FUNCTION_NAME": "sessions",
        "AWS_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "PATH": os.defpath,
        "HOME": "/nonexistent",
        "PYTHONPATH": str(artifacts),
    }
    return subprocess.run(
        [python, "-S", "-c", SCRIPT],
        cwd=artifacts,
        env=of_lambda | variables,
        input="".join(f"{json.dumps(event)}\n" for event in events),
        capture_output=True,
        text=True,
    )


def url_event(message: dict[str, Any], **headers: str) -> dict[str, Any]:
    """A request by a function URL, payload 2.0."""
    host = "abcdefghij.lambda-url.eu-west-1.on.aws"
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/mcp",
        "rawQueryString": "",
        "headers": {
            "host": host,
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "x-forwarded-proto": "https",
            "x-forwarded-for": "192.0.2.7",
            **headers,
        },
        "requestContext": {
            "domainName": host,
            "stage": "$default",
            "http": {
                "method": "POST",
                "path": "/mcp",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.7",
                "userAgent": "test",
            },
        },
        "body": json.dumps({"jsonrpc": "2.0", **message}),
        "isBase64Encoded": False,
    }


INITIALIZE = url_event(
    {
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
)
PUBLIC = {"McpAuth": "mcpsite.endpoint.access.auth.public", "AllowPublic": "true"}


def test_is_smaller_than_lambda_takes(artifacts: Path) -> None:
    size = sum(path.stat().st_size for path in artifacts.rglob("*") if path.is_file())

    assert 50_000_000 < size < MAX_BYTES
    assert (artifacts / "staticfiles" / "staticfiles.json").is_file()
    assert not list(artifacts.glob("**/moto"))


@on_moto
def test_the_function_starts_alone_with_the_templates_environment_and_serves_somebodys_package(
    artifacts: Path,
    python: tuple[str, str],
    template: dict[str, Any],
    engine: tuple[str, str],
    dynamodb: DynamoDBClient,
    settings: Settings,
) -> None:
    names = {
        "SessionsTableName": settings.DYNAMODB_SESSIONS_TABLE,
        "EventsTableName": settings.DYNAMODB_EVENTS_TABLE,
    }
    variables = environment(template, McpServer="theirs.server:mcp", **PUBLIC, **names)
    call = {"id": 2, "method": "tools/call", "params": {"name": "count", "arguments": {"number": 1234567}}}

    first = start(artifacts, python[1], variables | {"AWS_ENDPOINT_URL": engine[1]}, [INITIALIZE])
    answer = answers(first)[0]
    assert answer["statusCode"] == 200, answer
    session = {name.lower(): value for name, value in answer["headers"].items()}["mcp-session-id"]

    # A cold start of another process has the session.
    second = start(
        artifacts,
        python[1],
        variables | {"AWS_ENDPOINT_URL": engine[1]},
        [url_event(call, **{"mcp-session-id": session, "mcp-protocol-version": "2025-11-25"})],
    )
    body = json.loads(answers(second)[0]["body"])
    assert body["result"]["content"][0]["text"] == "1,234,567"
    assert dynamodb.get_item(
        TableName=settings.DYNAMODB_SESSIONS_TABLE, Key={"session_id": {"S": session}}, ConsistentRead=True
    )["Item"]
    # Metrics go to the log, which CloudWatch Logs reads.
    assert '"Namespace":"MCP/Sessions"' in second.stdout


def answers(ended: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert ended.returncode == 0, ended.stderr
    lines = [line.removeprefix("ANSWER ") for line in ended.stdout.splitlines() if line.startswith("ANSWER ")]
    return [json.loads(line) for line in lines]


def test_parameters_that_cannot_work_are_said_at_the_start(
    artifacts: Path, python: tuple[str, str], template: dict[str, Any]
) -> None:
    ended = start(artifacts, python[1], environment(template, McpAuth=PUBLIC["McpAuth"]), [])

    assert ended.returncode != 0
    assert "MCP_ALLOW_PUBLIC is not set" in ended.stderr
