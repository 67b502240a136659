"""The commands of docs/ecs.md and docs/multi-region.md, pasted in their order, beside programs that note what is asked.

What ``aws`` was told is held against botocore's models and against the template: no account can be asked here.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import botocore.session
import pytest
from botocore import xform_name
from botocore.validate import ParamValidator
from cfnlint.decode import cfn_yaml

from tests.deploy.stacks import ECS, ROOT, TEMPLATE

GLOBALS: Final = {"--query", "--output", "--region", "--profile"}
DEPLOY: Final = {"--stack-name", "--template-file", "--capabilities", "--parameter-overrides", "--s3-bucket"}
"""Options of the CLI's own ``cloudformation deploy``, as far as they are used."""
TAIL: Final = {"--log-stream-name-prefix", "--since"}

NOTE: Final = f"""#!{sys.executable}
import json, os, pathlib, sys
name = pathlib.Path(sys.argv[0]).name
if "--password-stdin" in sys.argv:
    sys.stdin.read()  # else who writes to it may find a broken pipe
with open(os.environ["NOTED"], "a") as noted:
    noted.write(json.dumps([name, *sys.argv[1:]]) + "\\n")
print("told" if name == "aws" else "")
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """What each program was told by the page's blocks, one shell for all of them."""
    directory = tmp_path_factory.mktemp("pasted")
    programs = directory / "bin"
    programs.mkdir()
    for name in ("aws", "docker", "curl", "python"):
        (programs / name).write_text(NOTE)
        (programs / name).chmod(0o755)
    noted = directory / "noted"
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "NOTED": str(noted),
        "CERTIFICATE": "arn:aws:acm:eu-west-1:111122223333:certificate/1",
        "ZONE": "Z1",
        "TOKEN": "token",
    }
    script = "\n".join(["set -euo pipefail", *_blocks("ecs.md"), *_blocks("multi-region.md")])
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in noted.read_text().splitlines()]


def _blocks(page: str) -> Iterator[str]:
    text = (ROOT / "docs" / page).read_text()
    for indent, block in re.findall(r"^( *)```bash\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
        yield "\n".join(line.removeprefix(indent) for line in block.splitlines())


def _options(arguments: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for argument in arguments:
        if argument.startswith("--"):
            found[argument] = []
        elif found:
            found[list(found)[-1]].append(argument)
    return found


@cache
def _template(path: Path) -> dict[str, Any]:
    return dict(cfn_yaml.load(str(path)))


def _parameters(path: Path) -> set[str]:
    return set(_template(path)["Parameters"])


def test_every_command_of_aws_and_each_of_its_options_exists(told: list[list[str]]) -> None:
    session = botocore.session.get_session()
    asked = [arguments for program, *arguments in told if program == "aws"]
    assert len(asked) > 20
    for service, command, *arguments in asked:
        options = _options(arguments)
        if (service, command) == ("cloudformation", "deploy"):
            assert options.keys() <= DEPLOY
        elif (service, command) == ("ecr", "get-login-password") or (service, command) == ("s3", "mb"):
            assert not options
        elif (service, command) == ("logs", "tail"):
            assert options.keys() <= TAIL
        elif command == "wait":
            waiters = session.get_waiter_model(service).waiter_names
            assert arguments[0] in {xform_name(name, "-") for name in waiters}
        else:
            model = session.get_service_model(service)
            operations = {xform_name(name, "-"): name for name in model.operation_names}
            shape = model.operation_model(operations[command]).input_shape
            known = {f"--{xform_name(name, '-')}" for name in (shape.members if shape else ())} | GLOBALS
            assert options.keys() <= known, (service, command)


def test_stacks_are_given_parameters_that_their_templates_have(told: list[list[str]]) -> None:
    deployed = [_options(arguments) for program, *arguments in told if arguments[:2] == ["cloudformation", "deploy"]]
    templates = {options["--template-file"][0] for options in deployed}
    assert templates == {"deploy/ecs/network.yaml", "deploy/ecs/template.yaml"}
    for options in deployed:
        given = {pair.partition("=")[0] for pair in options.get("--parameter-overrides", []) if "=" in pair}
        assert given <= _parameters(ROOT / options["--template-file"][0])


def test_the_outputs_that_are_asked_for_are_there(told: list[list[str]]) -> None:
    queries = [" ".join(arguments) for program, *arguments in told if program == "aws"]
    asked = {name for query in queries for name in re.findall(r"OutputKey=='(\w+)'", query)}
    assert len(asked) >= 4
    assert asked <= set(_template(TEMPLATE)["Outputs"])


def test_a_task_is_overridden_in_the_form_that_ecs_takes(told: list[list[str]]) -> None:
    shape = botocore.session.get_session().get_service_model("ecs").shape_for("TaskOverride")
    overridden = [_options(arguments)["--overrides"][0] for _, *arguments in told if "--overrides" in arguments]
    assert overridden
    for text in overridden:
        overrides: dict[str, Any] = json.loads(text)
        assert not ParamValidator().validate(overrides, shape).has_errors()
        assert overrides["containerOverrides"][0]["command"][:2] == ["python", "manage.py"]


@pytest.mark.parametrize("page", ["ecs.md", "terraform.md", "multi-region.md"])
def test_the_pages_name_parameters_and_files_that_exist(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    for path in re.findall(r"`(deploy/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path
    if page == "ecs.md":
        named = set(re.findall(r"`([A-Z][A-Za-z]+)(?:=[\w.]+)?`", text))
        known = _parameters(TEMPLATE) | _parameters(ECS / "network.yaml")
        known |= set(_template(TEMPLATE)["Outputs"])
        # A property of ECS's, a metric, and a word of Dockerfiles.
        assert named - known == {"DesiredCount", "OpenStreams", "FROM"}
