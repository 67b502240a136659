"""The house as CONTRIBUTING.md draws it: every room has its door, none is too full, and the tree stands as it is."""

from __future__ import annotations

import ast
import configparser
import re
from itertools import pairwise
from pathlib import Path

import grimp
import pytest

from tests.contracts.tree import tree

ROOT = Path(__file__).resolve().parents[2]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
PACKAGES = ("mcpsite", "sessions_dynamo")
NO_ROOMS = {"mcpsite", "sessions_dynamo", "migrations", "commands", "templatetags", "metrics"}
"""Roots, what Django finds by its place, and one that is entered by its face (see CONTRIBUTING.md)."""
MODULES, LINES = 16, 300

FOLDERS = sorted(
    path.parent
    for package in PACKAGES
    for path in (ROOT / package).rglob("__init__.py")
    if path.parent.name != "migrations"
)


def _name(folder: Path) -> str:
    return str(folder.relative_to(ROOT)).replace("/", ".")


def test_every_room_is_in_the_contract_of_doors() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / ".importlinter")
    named = set(config["importlinter:contract:doors"]["rooms"].split())
    assert named == {_name(folder) for folder in FOLDERS if folder.name not in NO_ROOMS}


@pytest.mark.parametrize("folder", FOLDERS, ids=_name)
def test_a_room_has_a_sentence_and_is_not_too_full(folder: Path) -> None:
    if folder.name not in NO_ROOMS:
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= MODULES


def test_a_module_over_the_limit_has_its_reason_written_down() -> None:
    modules = [
        path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "migrations" not in path.parts
    ]
    long = {path: len(path.read_text().splitlines()) for path in modules}
    reasons = dict(re.findall(r"`([\w/]+\.py)` \(at most (\d+)\)", CONTRIBUTING))
    for path, lines in long.items():
        if lines > LINES:
            reason = next((int(most) for name, most in reasons.items() if str(path).endswith(name)), 0)
            assert lines <= reason, (
                f"{path.relative_to(ROOT)} has {lines} lines: split it, or say why in CONTRIBUTING.md"
            )


def test_every_module_has_a_docstring() -> None:
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text()
            if text and path.name not in {"apps.py", "admin.py"} and "migrations" not in path.parts:
                assert ast.get_docstring(ast.parse(text)), path


def test_the_tree_is_as_it_stands() -> None:
    (drawn,) = re.findall(r"^```text tree\n(.*?)^```$", CONTRIBUTING, re.MULTILINE | re.DOTALL)
    assert drawn == tree(), "python -m tests.contracts.tree prints it"


def test_every_path_that_it_names_exists() -> None:
    """A path in backticks is of the root, of one of the packages, or of the endpoint."""
    places = [ROOT, ROOT / "mcpsite", ROOT / "mcpsite" / "endpoint", ROOT / "sessions_dynamo", ROOT / "tests"]
    places += [ROOT / "mcpsite" / "endpoint" / "streams"]
    named = set(re.findall(r"`([\w./-]+/[\w.-]*|[\w-]+\.py)`", CONTRIBUTING)) - {"artefacts/screenshots", "tools/call"}
    missing = {name for name in named if not any((place / name).exists() for place in places)}
    assert missing == set()


def _drawn() -> tuple[set[str], set[tuple[str, str]]]:
    """The boxes and the arrows of the picture, ``a & b --> c --> d`` taken apart."""
    (picture,) = re.findall(r"^```mermaid\n(.*?)^```$", CONTRIBUTING, re.MULTILINE | re.DOTALL)
    boxes = set(re.findall(r"^ *(?:subgraph )?(\w+)\[", picture, re.MULTILINE))
    arrows: set[tuple[str, str]] = set()
    for line in re.findall(r"^ *(.* --> .*)$", picture, re.MULTILINE):
        groups = [group.split(" & ") for group in line.split(" --> ")]
        for users, used in pairwise(groups):
            arrows |= {(user, one) for user in users for one in used}
    return boxes, arrows


def _box(module: str) -> str:
    """The box of the picture that a module is in."""
    package, *rest = module.split(".")
    if package == "sessions_dynamo":
        room = rest[0] if rest else ""
        return {"templatetags": "staff", "recorder": "workers", "key_value": "workers"}.get(
            room, room if (ROOT / package / room).is_dir() and room else "ground"
        )
    if rest[:2] == ["endpoint", "conf"]:
        return "the endpoint's own ground"
    if rest[:1] == ["endpoint"]:
        return rest[1] if len(rest) > 1 and (ROOT / package / "endpoint" / rest[1]).is_dir() else "front"
    return rest[0] if rest[:1] in (["aws_lambda"], ["try_it"], ["door"], ["blocking"]) else "root"


def test_every_room_and_every_arrow_of_the_picture_is_there() -> None:
    boxes, arrows = _drawn()
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    used = {
        (_box(module), _box(imported))
        for module in graph.modules
        for imported in graph.find_modules_directly_imported_by(module)
        if ".migrations" not in module
    }
    rooms = {_box(_name(folder)) for folder in FOLDERS if folder.name not in {"commands", "templatetags"}}
    assert rooms | {"ground", "front", "root"} <= boxes
    assert {(user, one) for user, one in arrows if "site" not in user} <= used
    assert {(one, user) for user, one in arrows} & used == set(), "against an arrow"
