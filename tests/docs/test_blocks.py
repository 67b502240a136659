"""What the pages of ``docs/`` tell a reader to paste, save or import works; a page's blocks run in their order.

Blocks of the shell run as in a second terminal beside ``make run``, and stop at the first command that fails. A page
that starts no site of its own shares one, with empty tables, whose endpoint and embedded DynamoDB it may use.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
import types
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import boto3
import pytest
import yaml
from botocore import xform_name
from botocore.session import get_session
from pytest_django import Settings

from sessions_dynamo.client import EMBEDDED_REGION
from sessions_dynamo.tables.setup import ensure_tables
from tests.docs.fences import Fence, fences, pages
from tests.docs.sites import Site, running
from tests.docs.warm import warm_python

DOCS: Final = [fence for page in pages() for fence in fences(page) if page.name != "README.md"]
PARSERS: Final[dict[str, Callable[[str], Any]]] = {
    "json": lambda text: [json.loads(document) for document in _documents(text)],
    "yaml": lambda text: list(yaml.compose_all(text)),
    "toml": tomllib.loads,
}


@dataclass(frozen=True, slots=True)
class Act:
    """What of a page runs against one site: the block that starts it, if any, the files there, and what is pasted."""

    page: str
    start: Fence | None
    files: dict[str, str]
    pasted: list[Fence]


def _acts() -> Iterator[Act]:
    for page in dict.fromkeys(fence.page for fence in DOCS):
        act, files = Act(page, None, {}, []), {}
        for fence in (fence for fence in DOCS if fence.page == page):
            if fence.how == "file":
                files[fence.title] = fence.text
            elif fence.how == "start":
                yield act
                act = Act(page, fence, dict(files), [])
            elif fence.how == "shell":
                act.files.update(files)
                act.pasted.append(fence)
        yield act


ACTS: Final = [act for act in _acts() if act.start or act.pasted]


def _documents(text: str) -> list[str]:
    """One document over several lines, or one a line."""
    return text.splitlines() if text.count("\n{") else [text]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running("make run", tmp_path_factory.mktemp("docs")) as site:
        yield site


@pytest.fixture
def emptied(shared: Site, settings: Settings) -> Site:
    """The shared site, with tables as it made them at its start, and nothing in them."""
    settings.ENVIRONMENT = "development"
    url = f"http://127.0.0.1:{shared.env['DYNAMODB_EMBEDDED_PORT']}"
    urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST"), timeout=10).close()
    ensure_tables(client=boto3.client("dynamodb", region_name=EMBEDDED_REGION, endpoint_url=url))
    return shared


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PATH on which ``python`` runs a command without a second of imports."""
    with warm_python(tmp_path_factory.mktemp("warm")) as directory:
        yield f"{directory}:{Path(sys.executable).parent}:{os.environ['PATH']}"


def _play(site: Site, act: Act, path: str) -> None:
    for name, text in act.files.items():
        (site.root / name).parent.mkdir(parents=True, exist_ok=True)
        (site.root / name).write_text(text)
    script = "".join(
        f"echo '::: {fence.where}' | tee /dev/stderr\n{fence.preparation}\n{fence.text}" for fence in act.pasted
    )
    done = site.shell("set -e -o pipefail\n" + script, PATH=path)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{site.log.read_text()}"


@pytest.mark.parametrize("act", [pytest.param(act, id=act.start.where if act.start else act.page) for act in ACTS])
def test_what_a_page_says_to_paste_works(act: Act, warm: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if act.start is None:
        _play(request.getfixturevalue("emptied"), act, warm)
        return
    with running(act.start.text, tmp_path, act.files) as site:
        assert site.status("/healthz") == 200
        _play(site, act, warm)


@pytest.mark.parametrize("page", dict.fromkeys(fence.page for fence in DOCS if fence.how == "python"))
def test_python_runs_as_one_module(page: str) -> None:
    module = types.ModuleType("documented")
    for fence in DOCS:
        if fence.page == page and fence.how == "python":
            exec(compile(fence.text, fence.where, "exec"), module.__dict__)


def _every(*languages: str) -> list[Any]:
    return [pytest.param(fence, id=fence.where) for fence in DOCS if fence.language in languages]


@pytest.mark.parametrize("fence", _every("bash"))
def test_shell_blocks_are_well_formed(fence: Fence) -> None:
    subprocess.run(["bash", "-n"], input=fence.text, text=True, check=True)


@pytest.mark.parametrize("fence", _every("python"))
def test_python_blocks_are_well_formed(fence: Fence) -> None:
    compile(fence.text, fence.where, "exec")


AWS_EVERYWHERE: Final = {"--endpoint-url", "--region", "--profile", "--output", "--query", "--cli-input-json"}
"""Options of the AWS CLI itself."""
AWS_OWN: Final = {
    *(("cloudformation", "deploy"), ("cloudformation", "package")),
    *(("ecr", "get-login-password"), ("logs", "tail")),
}
"""Commands that the AWS CLI has and no service; of ``aws s3`` all are."""


@pytest.mark.parametrize("fence", [one for one in _every("bash") if "\naws " in f"\n{one.values[0].text}"])
def test_the_aws_cli_has_the_commands_and_options(fence: Fence) -> None:
    for service, command, *rest in _aws_commands(fence.text):
        if service == "s3" or (service, command) in AWS_OWN:
            continue
        session = get_session()
        if command == "wait":
            waiters = session.get_waiter_model(service).waiter_names
            assert rest[0] in {xform_name(name, "-") for name in waiters}, f"aws {service} waits for no {rest[0]}"
            continue
        model = session.get_service_model(service)
        operations = {xform_name(name, "-"): name for name in model.operation_names}
        assert command in operations, f"aws {service} has no {command}"
        shape = model.operation_model(operations[command]).input_shape
        options = {f"--{xform_name(name, '-')}" for name in (shape.members if shape else ())}
        given = {word.partition("=")[0].replace("--no-", "--") for word in rest if word.startswith("--")}
        assert given <= options | AWS_EVERYWHERE, f"aws {service} {command}"


def _aws_commands(script: str) -> Iterator[list[str]]:
    """The words behind ``aws`` of each of its commands; one goes on behind a backslash, and in a quoted text."""
    lines = re.sub(r"'[^']*'", lambda quoted: quoted[0].replace("\n", " "), script.replace("\\\n", " ")).splitlines()
    yield from (shlex.split(line, comments=True)[1:] for line in lines if line.startswith("aws "))


def test_a_command_or_an_option_that_the_aws_cli_has_not_is_found() -> None:
    def check(text: str) -> None:
        test_the_aws_cli_has_the_commands_and_options(Fence("docs/none.md", 1, "", "bash", "", text, ""))

    check(
        "aws dynamodb describe-table --table-name x --region \\\n  eu-west-1\naws ecs wait tasks-running --cluster c\n"
    )
    for wrong in ("dynamodb describe-tables", "dynamodb list-backups --tables x", "ecs wait tasks-walking"):
        with pytest.raises(AssertionError, match=r"^aws "):
            check(f"aws {wrong}\n")


@pytest.mark.parametrize("fence", _every(*PARSERS))
def test_data_blocks_are_well_formed(fence: Fence) -> None:
    assert PARSERS[fence.language](fence.text)


def test_the_pages_are_found() -> None:
    assert len(DOCS) > 10
    assert {act.page for act in ACTS} >= {"docs/setup.md", "docs/teardown.md"}
