"""Each way that a command cannot reach its tables: one sentence that says what to do, and no traceback.

Commands have boto3; that a store on a loop says the same sentence is held at the end.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from botocore.config import Config
from django.core.management import CommandError, call_command
from pytest_django import Settings

from sessions_dynamo import client
from sessions_dynamo.errors import StorageUnavailable
from sessions_dynamo.operations import Driver, ask, boto3_driver
from sessions_dynamo.tables import setup
from tests.engines import free_port, on_moto
from tests.sessions_dynamo.drivers import LoopDriver
from tests.sessions_dynamo.wire import answering, error

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture(autouse=True)
def fresh_clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clients of the environment that the test sets up, and one attempt: back-off would only cost time."""
    monkeypatch.setattr(client, "_CONFIG", client._CONFIG.merge(Config(retries={"total_max_attempts": 1})))
    client.aws_client.cache_clear()
    yield
    client.aws_client.cache_clear()


def failure(*arguments: str) -> str:
    with pytest.raises(CommandError) as raised:
        call_command("dynamodb_setup", *arguments, stdout=io.StringIO())
    return str(raised.value)


def test_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    message = failure()

    assert "No usable AWS credentials" in message
    assert "aws configure" in message


def test_half_of_the_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    assert "No usable AWS credentials" in failure()


def test_a_profile_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")

    assert "nobody" in failure()


def test_no_region(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.AWS_REGION = ""

    assert "set AWS_REGION" in failure()


def test_an_endpoint_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")

    message = failure()

    assert f"http://127.0.0.1:{port}" in message
    assert "Check AWS_REGION, AWS_ENDPOINT_URL" in message


@pytest.mark.parametrize(("region", "hint"), [("eu-wst-1", "did you mean eu-west-1?"), ("mars", "set AWS_REGION")])
def test_a_region_that_does_not_exist(region: str, hint: str) -> None:
    message = failure("--region", region)

    assert f"{region} is no AWS region" in message
    assert hint in message


def test_a_region_that_no_region_can_be_called() -> None:
    assert "eu west 1" in failure("--region", "eu west 1")


@on_moto
@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("AccessDeniedException", "the IAM action dynamodb:DescribeTable is needed"),
        ("UnrecognizedClientException", "Renew them"),
        ("ExpiredTokenException", "Renew them"),
    ],
)
def test_what_aws_refuses(bare_dynamodb: DynamoDBClient, code: str, remedy: str) -> None:
    with answering(bare_dynamodb, "DescribeTable", error(code, "no")):
        assert remedy in failure()


def test_the_embedded_server_of_a_runserver_that_is_not_running(settings: Settings) -> None:
    settings.DYNAMODB_EMBEDDED_PORT = free_port()
    settings.DYNAMODB_EMBEDDED = settings.DEBUG = True

    message = failure()

    assert f"does not answer at http://127.0.0.1:{settings.DYNAMODB_EMBEDDED_PORT}" in message
    assert "manage.py runserver" in message
    assert "DYNAMODB_EMBEDDED=false" in message


def test_readiness_names_the_endpoint_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")

    with pytest.raises(StorageUnavailable, match=f"http://127.0.0.1:{port}"):
        setup.reachable()


def _unreachable(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")


def _no_credentials(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    patch.delenv("AWS_ACCESS_KEY_ID")
    patch.delenv("AWS_SECRET_ACCESS_KEY")


def _half_of_them(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    patch.delenv("AWS_SECRET_ACCESS_KEY")


def _no_profile(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("AWS_PROFILE", "nobody")


def _no_region(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    settings.AWS_REGION = ""


def _a_region_that_is_none(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    settings.AWS_REGION = "eu west 1"


@pytest.mark.parametrize(
    "broken", [_unreachable, _no_credentials, _half_of_them, _no_profile, _no_region, _a_region_that_is_none]
)
def test_a_store_says_the_same_on_either_driver(
    broken: Callable[[Settings, pytest.MonkeyPatch], None], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(driver: Callable[[], Driver]) -> str:
        with pytest.raises(StorageUnavailable) as raised:
            driver()(ask("mcp-sessions", "GetItem", Key={"session_id": {"S": "abc"}}))
        return str(raised.value)

    broken(settings, monkeypatch)
    with LoopDriver() as loop:
        on_the_loop = said(lambda: loop)
    assert on_the_loop == said(lambda: boto3_driver(client.dynamodb()))
