"""``/healthz`` and ``/readyz``: what a load balancer asks, by address and without credentials."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from pytest_django import Settings

from tests.engines import free_port
from tests.mcpsite import site

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True, slots=True)
class Response:
    status_code: int
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


def get(path: str, host: str = "testserver") -> Response:
    """By the short door, as a load balancer's requests come."""
    served = site.request("GET", path, headers={"Host": host})
    return Response(served.status, b"".join(served.pieces))


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> str:
    """A DynamoDB at which nobody listens."""
    url = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    settings.DYNAMODB_SESSIONS_TABLE = "sessions-nowhere"
    return url


def test_the_process_is_up_whatever_dynamodb_does(unreachable: str) -> None:
    response = get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_ready_when_both_tables_answer(dynamodb: DynamoDBClient) -> None:
    response = get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ready"})


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_any_host_is_answered(dynamodb: DynamoDBClient, settings: Settings, path: str) -> None:
    settings.DEBUG, settings.ALLOWED_HOSTS = False, ["mcp.example.com"]
    settings.MCP_AUTH = "tests.mcpsite.servers.callers_name"
    for host in ("10.0.0.7:8062", "evil.example.com", "a b", ""):
        assert get(path, host=host).status_code == 200
        assert site.request("HEAD", path, headers={"Host": host}).status == 200


def test_not_ready_while_dynamodb_is_unreachable(unreachable: str) -> None:
    response = get("/readyz")
    assert response.status_code == 503
    assert response.json()["status"] == "unavailable"
    assert "Cannot reach sessions-nowhere" in response.json()["reason"]
    assert unreachable in response.json()["reason"]


def test_not_ready_without_tables_and_the_reason_names_the_command(
    bare_dynamodb: DynamoDBClient, settings: Settings
) -> None:
    response = get("/readyz")
    assert response.status_code == 503
    assert settings.DYNAMODB_SESSIONS_TABLE in response.json()["reason"]
    assert "manage.py dynamodb_setup" in response.json()["reason"]


def test_not_ready_where_a_table_has_other_keys(bare_dynamodb: DynamoDBClient, settings: Settings) -> None:
    for name in (settings.DYNAMODB_SESSIONS_TABLE, settings.DYNAMODB_EVENTS_TABLE):
        bare_dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    response = get("/readyz")
    assert response.status_code == 503
    assert "key" in response.json()["reason"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_other_methods_do_not_reach_them(dynamodb: DynamoDBClient, path: str) -> None:
    assert site.request("POST", path).status == 404
    assert get(f"{path}/").status_code == 404
