"""The image, built once a run from a bare root; a PostgreSQL and a DynamoDB that its containers share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import NOT_TESTED
from tests.engines import EngineMissing, moto
from tests.image.compose import ROOT, compose
from tests.image.container import Container
from tests.image.dockerfile import Image, build, steps
from tests.image.roots import bare_root, roomy_place
from tests.live.postgresql import Cluster, postgresql

SECRETS = {"SECRET_KEY": "k" * 50, "POSTGRES_PASSWORD": "secret"}


def _missing(exc: EngineMissing) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(str(exc))
    pytest.skip(f"{NOT_TESTED}: the image, for {exc}")


@pytest.fixture(scope="session")
def workshop() -> Iterator[Path]:
    """A directory for roots, which are large: gone at the end of the run."""
    with tempfile.TemporaryDirectory(prefix="image-", dir=roomy_place()) as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def base(workshop: Path) -> dict[str, Image]:
    """What stands for the base image, by the reference that the Dockerfile has for it."""
    try:
        root = bare_root(workshop)
    except EngineMissing as exc:
        _missing(exc)
    first = next(step.value for step in steps((ROOT / "Dockerfile").read_text()) if step.name == "ARG")
    return {first.partition("=")[2]: Image(root)}


@pytest.fixture(scope="session")
def image(base: dict[str, Image], workshop: Path) -> Image:
    """``docker build --tag mcp-sessions .``"""
    directory = workshop / "mcp-sessions"
    directory.mkdir()
    return build((ROOT / "Dockerfile").read_text(), ROOT, base, directory)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    try:
        with postgresql() as running:
            yield running
    except EngineMissing as exc:
        _missing(exc)


@pytest.fixture(scope="session")
def dynamodb_url() -> Iterator[str]:
    with moto() as url:
        yield url


@pytest.fixture(scope="session")
def site_environment(cluster: Cluster, dynamodb_url: str) -> dict[str, str]:
    """What docker-compose.yml gives the site; only where its database and its DynamoDB are is this machine's."""
    environment: dict[str, str] = compose(SECRETS)["services"]["site"]["environment"]
    for theirs, ours in (("http://dynamodb:8000", dynamodb_url), ("@postgres:5432/", f"@127.0.0.1:{cluster.port}/")):
        assert any(theirs in value for value in environment.values())
        environment = {name: value.replace(theirs, ours) for name, value in environment.items()}
    return environment | {"WEB_CONCURRENCY": "1"}


@pytest.fixture(scope="session")
def migrated(image: Image, site_environment: dict[str, str]) -> None:
    """The one-shot service of docker-compose.yml has run."""
    service = compose(SECRETS)["services"]["migrate"]
    done = Container(image, site_environment, tmpfs=("/tmp",)).run(*service["command"])
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def token(image: Image, site_environment: dict[str, str], migrated: None) -> str:
    """A bearer token, made where ``docker compose exec site`` would make it."""
    script = (
        "from django.contrib.auth.models import User;"
        "from django_mcpz.bearer_tokens.models import Token;"
        "print(Token.create(name='test', user=User.objects.create_user('robot'))[1])"
    )
    command = ("python", "manage.py", "shell", "--verbosity", "0", "--command", script)
    done = Container(image, site_environment).run(*command, entrypoint=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
