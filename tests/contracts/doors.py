"""A contract for import-linter: a room is entered by its doors, the modules that its ``__all__`` names."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class DoorsContract(Contract):
    """Names in ``rooms`` are packages. Within a room every module is open; from outside only what ``__all__`` names."""

    type_name = "doors"

    rooms = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        rooms = cast("list[str]", self.rooms)
        broken = [sentence for room in rooms for sentence in _broken(graph, room)]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for sentence in check.metadata["broken"]:
            output.print_error(sentence)


def doors(room: str) -> set[str]:
    """The names in a package's ``__all__``, read without importing what is in it."""
    spec = find_spec(room)
    assert spec is not None, f"there is no room {room}"
    assert spec.origin is not None, f"{room} has no __init__.py"
    for node in ast.parse(Path(spec.origin).read_text()).body:
        targets: list[Any] = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return set(ast.literal_eval(node.value))  # type: ignore[attr-defined]
    raise AssertionError(f"{room} names no doors: give it an __all__ of its modules")


def _broken(graph: ImportGraph, room: str) -> list[str]:
    public = doors(room)
    inside = {f"{room}.{name}" for name in public}
    sentences = [f"{room}.__all__ names {module}, which does not exist" for module in inside - graph.modules]
    for imported in graph.find_descendants(room):
        name = imported.removeprefix(f"{room}.").partition(".")[0]
        if name in public:
            continue
        sentences += [
            f"{importer} imports {imported}, which is not among the doors of {room}: {', '.join(sorted(public))}"
            for importer in graph.find_modules_that_directly_import(imported)
            if importer != room and not importer.startswith(f"{room}.")
        ]
    return sorted(sentences)
